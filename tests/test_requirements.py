"""The hooks behind `@pytest.mark.requires` and ZEROG_REQUIRE, and where temporary files are (tests/conftest.py)."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from tests.conftest import MEMORY, memory_for_files

pytest_plugins = ["pytester"]

PROBE = """
    import pytest

    @pytest.mark.requires("anvil")
    def test_marked(): ...

    def test_skips_by_itself():
        pytest.skip("no anvil here")

    def test_skips_for_another_reason():
        pytest.skip("only on Windows")

    @pytest.mark.xfail(reason="anvil cannot do this")
    def test_expected_failure():
        assert False

    def test_passes(): ...
"""


@pytest.fixture
def suite(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, repository: Path) -> pytest.Pytester:
    """An empty suite with our conftest, on a machine where anvil is nowhere to be found."""
    pytester.makeconftest((repository / "tests" / "conftest.py").read_text(encoding="utf-8"))
    pytester.makeini("[pytest]\nmarkers =\n    requires(*parts): needs parts outside Python\n")
    monkeypatch.setenv("PATH", str(pytester.path))
    monkeypatch.delenv("ZEROG_ANVIL", raising=False)
    monkeypatch.delenv("ZEROG_REQUIRE", raising=False)
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    return pytester


def test_a_missing_part_is_skipped_with_what_to_do(suite: pytest.Pytester) -> None:
    suite.makepyfile(PROBE)
    result = suite.runpytest_inprocess("-ra")
    result.assert_outcomes(passed=1, skipped=3, xfailed=1)
    result.stdout.fnmatch_lines(["SKIPPED*needs anvil: run `make interop`, or set ZEROG_ANVIL"])


def test_a_required_part_turns_every_skip_for_its_lack_into_a_failure(
    suite: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ZEROG_REQUIRE", "node, anvil")
    suite.makepyfile(PROBE)
    result = suite.runpytest_inprocess("-ra")
    result.assert_outcomes(passed=1, skipped=1, xfailed=1, failed=1, errors=1)
    result.stdout.fnmatch_lines(["*ZEROG_REQUIRE names anvil, so this may not be skipped: no anvil here"])
    assert result.ret == pytest.ExitCode.TESTS_FAILED


def test_a_module_skipped_for_lack_of_a_required_part_fails_the_run(
    suite: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ZEROG_REQUIRE", "postgres")
    suite.makepyfile("import pytest\npytest.skip('needs postgres', allow_module_level=True)")
    result = suite.runpytest_inprocess()
    result.assert_outcomes(errors=1)
    assert result.ret == pytest.ExitCode.INTERRUPTED


def test_a_part_that_is_there_lets_the_test_run(suite: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    program = suite.path / "anvil"
    program.touch()
    monkeypatch.setenv("ZEROG_ANVIL", str(program))
    monkeypatch.setenv("ZEROG_REQUIRE", "anvil")
    suite.makepyfile("import pytest\n@pytest.mark.requires('anvil')\ndef test_marked(anvil): assert anvil")
    suite.runpytest_inprocess().assert_outcomes(passed=1)


@pytest.mark.parametrize("place", ["marker", "environment"])
def test_an_unknown_part_is_an_error_and_the_parts_are_named(
    suite: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    if place == "environment":
        monkeypatch.setenv("ZEROG_REQUIRE", "nodejs")
    suite.makepyfile("import pytest\n@pytest.mark.requires('nodejs')\ndef test_marked(): ...")
    result = suite.runpytest_inprocess()
    assert result.ret != pytest.ExitCode.OK
    assert "nodejs" in (text := result.stdout.str() + result.stderr.str())
    assert "node, solc, anvil, postgres, pgbouncer, cases, chromium, ray, attestation" in text


@pytest.mark.skipif(not memory_for_files(), reason="there is not enough memory for files")
def test_temporary_files_are_in_memory_and_gone_after_a_run_that_passed(
    suite: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("TMPDIR", raising=False)
    monkeypatch.delenv("PYTEST_DEBUG_TEMPROOT", raising=False)
    suite.makepyfile("""
        import pytest
        from pathlib import Path
        import tempfile

        @pytest.mark.parametrize("passes", [True, False])
        def test_a_file(tmp_path, passes):
            Path("where").write_text(str(tmp_path))
            assert Path(tempfile.gettempdir()) in tmp_path.parents
            assert passes
    """)
    for chosen, status in (("[True]", 0), ("[False]", 1)):
        assert suite.run(sys.executable, "-m", "pytest", "-k", chosen).ret == status
        files = Path((suite.path / "where").read_text())
        assert files.is_relative_to(MEMORY)
        assert files.exists() == (status == 1), "what failed is looked at"


@pytest.mark.skipif(sys.platform != "linux", reason="on Linux only")
@pytest.mark.parametrize(
    ("free", "flags", "fits"), [(8, 0, True), (1, 0, False), (8, getattr(os, "ST_NOEXEC", 0), False)]
)
def test_files_need_room_and_programs_among_them_may_run(
    monkeypatch: pytest.MonkeyPatch, free: int, flags: int, fits: bool
) -> None:
    monkeypatch.setattr(os, "access", lambda path, mode: True)
    monkeypatch.setattr(os, "statvfs", lambda path: SimpleNamespace(f_bavail=free << 20, f_frsize=1024, f_flag=flags))
    assert (memory_for_files() is not None) == fits
