"""``zerog image``, ``zerog transcribe`` and ``zerog check``: pictures, recordings, and exchanges made elsewhere."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from zg_core.cli.chat import MODES, Model, check_mode, ended, expect_lag, settle_verdict, show_receipt, told
from zg_core.cli.terminal.options import MostSpent, budget_of, command, parse_address
from zg_core.cli.terminal.run import Run
from zg_core.errors import ConfigError
from zg_core.media.images import ImageClient
from zg_core.media.speech import SpeechClient
from zg_core.tasks.base import IMAGE_EDITS, TASKS
from zg_core.tasks.transcription import ANSWERS

if TYPE_CHECKING:
    from zg_core.receipts.model import Receipt

__all__ = ["check", "image", "transcribe"]

Provider = Annotated[
    str | None, typer.Option(metavar="ADDRESS", parser=parse_address, help="Provider of this type of service.")
]
Verify = Annotated[
    str | None, typer.Option(metavar="MODE", help=f"{', '.join(MODES)}; default ZEROG_VERIFY, else warn.")
]
Minimum = Annotated[
    str | None, typer.Option(metavar="VERDICT", help="Least verdict that will do: verified (default), …")
]


_ENDINGS = (".png", ".jpg", ".webp", ".gif", ".bin")


@command
def image(
    run: Run,
    prompt: Annotated[str, typer.Argument(metavar="PROMPT", help="What to draw, or with --edit what to change.")],
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="FILE", help="Where to write it; never over a file.")
    ] = Path("image"),
    provider: Provider = None,
    model: Model = None,
    n: Annotated[int, typer.Option("-n", min=1, max=10, help="How many.")] = 1,
    size: Annotated[str | None, typer.Option(metavar="WIDTHxHEIGHT", help="Size in pixels.")] = None,
    edit: Annotated[list[Path] | None, typer.Option(metavar="FILE", help="Edit this image; repeatable.")] = None,
    verify: Verify = None,
    minimum: Minimum = None,
    budget: MostSpent = None,
) -> None:
    """Make images, or edit one, and write them to files. Chat id, fee and verdict go to stderr.

    It is paid from the sub-account at the provider, without asking. Exit codes as of `zerog chat`.
    """
    check_mode(verify)
    receipts: list[Receipt] = []
    options: dict[str, Any] = {"verify": verify, "minimum": minimum, "budget": budget_of(budget)}
    if edit:
        options["service_type"] = IMAGE_EDITS.service_type
    places = _places(output, n)
    with run.client_of(ImageClient, provider=provider, model=model, on_receipt=receipts.append, **options) as client:
        with told(run.out, receipts), run.out.waiting("waiting for the images"):
            expect_lag(client)
            images = (
                client.edit(list(edit), prompt, n=n, size=size) if edit else client.generate(prompt, n=n, size=size)
            )
            settle_verdict(client, images.receipt, "")
        files = [one.save(place) for one, place in zip(images, places, strict=False)]
        for file, one in zip(files, images, strict=True):
            shown = "" if one.size is None else " {}x{}".format(*one.size)
            run.out.line(f"{file} {one.content_type}{shown} sha256 {one.sha256}")
        listed = [
            {"file": str(file), "content_type": one.content_type, "size": list(one.size or ()), "sha256": one.sha256}
            for file, one in zip(files, images, strict=True)
        ]
        ended(run, client, images.receipt, {"images": listed})


def _places(output: Path, n: int) -> list[Path]:
    """Where the images go; said before anything is paid where it cannot be."""
    places = [
        output if n == 1 else output.with_name(f"{output.stem}-{number}{output.suffix}") for number in range(1, n + 1)
    ]
    if not output.parent.is_dir():
        raise ConfigError(f"there is no folder {output.parent}", code="unwritable_file", hint="give another --output")
    for place in places:
        taken = [place] if place.suffix else [place.with_suffix(end) for end in _ENDINGS]
        if (there := next((one for one in taken if one.exists()), None)) is not None:
            message = f"there is a file {there.name} already; nothing was sent"
            raise ConfigError(message, code="file_exists", hint="give another --output")
    return places


@command
def transcribe(
    run: Run,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A recording: flac, m4a, mp3, mp4, ogg, wav or webm.")],
    provider: Provider = None,
    model: Model = None,
    response_format: Annotated[str, typer.Option("--format", metavar="FORMAT", help=f"{', '.join(ANSWERS)}.")] = "json",
    language: Annotated[str | None, typer.Option(help="What is spoken, as en.")] = None,
    stream: Annotated[bool, typer.Option("--stream", help="Print the words as they are heard.")] = False,
    verify: Verify = None,
    minimum: Minimum = None,
    budget: MostSpent = None,
) -> None:
    """Write a recording down. The words go to stdout; chat id, fee and verdict to stderr.

    It is paid from the sub-account at the provider, without asking. Exit codes as of `zerog chat`.
    """
    check_mode(verify)
    receipts: list[Receipt] = []
    options: dict[str, Any] = {"verify": verify, "minimum": minimum, "budget": budget_of(budget)}
    with run.client_of(SpeechClient, provider=provider, model=model, on_receipt=receipts.append, **options) as client:
        with told(run.out, receipts), run.out.waiting("waiting for the words"):
            expect_lag(client)
            text = _heard(run, client, file, response_format, language, stream)
            receipt = receipts[-1]
            settle_verdict(client, receipt, text)
        ended(run, client, receipt, {"text": text})


def _heard(run: Run, client: SpeechClient, file: Path, form: str, language: str | None, stream: bool) -> str:
    if not stream:
        text = client.transcribe(file, response_format=form, language=language).text
        if not run.out.as_json:
            run.out.raw(text if text.endswith("\n") else f"{text}\n")
        return text
    words = client.transcribe_stream(file, language=language)
    for word in words:
        if not run.out.as_json:
            run.out.raw(word)
    if not run.out.as_json:
        run.out.raw("\n")
    return words.text


@command
def check(
    run: Run,
    request: Annotated[Path, typer.Argument(metavar="REQUEST", help="File with the bytes that were sent.")],
    response: Annotated[Path, typer.Argument(metavar="RESPONSE", help="File with the bytes that came.")],
    chat_id: Annotated[
        str | None,
        typer.Option(metavar="ID", help="The ZG-Res-Key header of the response; chats name it inside, too."),
    ] = None,
    task: Annotated[str, typer.Option(help=f"{', '.join(one.name for one in TASKS)}.")] = "chat",
    provider: Provider = None,
    model: Model = None,
    minimum: Minimum = None,
) -> None:
    """Judge an exchange that another program made: with a key of `zerog keys` or `zerog token`, say.

    Nothing is paid or stored. A provider keeps signatures for about 20 minutes. Exit code 1 if the evidence contradicts
    the answer, 3 if less was proven than --minimum asks for.
    """
    sent, came = _bytes(request), _bytes(response)
    headers = {"ZG-Res-Key": chat_id} if chat_id else {}
    with run.client(provider=provider, model=model, minimum=minimum, verify="warn") as client:
        with run.out.waiting("looking for the signature"):
            receipt = client.judge(task, request=sent, response=came, headers=headers)
        run.out.line(f"{receipt.verdict}: {receipt.verdict.explain()}")
        if str(receipt.verdict.status) == "failed":
            show_receipt(run.out, receipt)
            run.out.document({"receipt": receipt.to_dict(), "verdict": "failed"})
            raise typer.Exit(1)
        ended(run, client, receipt, {"task": task})


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ConfigError(
            f"{path} cannot be read: {error.strerror}", code="unreadable_file", hint="give files with the bytes"
        ) from None
