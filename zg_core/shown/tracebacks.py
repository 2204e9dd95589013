"""What an exception carries out of the package: no local variables, and nothing that was hidden on the way.

A traceback keeps every frame that it passed, with its local variables: keys while something is signed, tokens while a
request is sent, bodies that repeat them. Error reporters record them. At the border of the package they are cleared, in
frames of ours and of the libraries below; frames of the user's own code, callbacks included, stay as they are.
"""

from __future__ import annotations

import functools
import inspect
import sys
from typing import TYPE_CHECKING, Any, TypeVar, cast

if TYPE_CHECKING:
    from types import FrameType

__all__ = ["clear_locals", "clears_locals", "forgetful"]

_C = TypeVar("_C", bound=type)
_F = TypeVar("_F")
_OURS = ("zg_core", "langchain_zerog", "llama_index_zerog")
_INSTALLED = ("site-packages", "dist-packages")
_SPECIAL = frozenset({"__init__", "__next__", "__anext__", "__enter__", "__exit__", "__aenter__", "__aexit__"})


def clear_locals(error: BaseException) -> None:
    """Clear the local variables that `error` and all that led to it hold, and cut off what was raised ``from None``.

    Frames that still run are left alone: those of whoever calls this.
    """
    links: list[BaseException] = [error]
    seen: set[int] = set()
    while links:
        link = links.pop()
        if id(link) in seen:
            continue
        seen.add(id(link))
        if link.__suppress_context__:
            link.__context__ = link.__cause__
        trace = link.__traceback__
        while trace is not None:
            if _may_be_cleared(trace.tb_frame):
                try:
                    trace.tb_frame.clear()
                except RuntimeError:  # it still runs
                    pass
            trace = trace.tb_next
        links += [other for other in (link.__cause__, link.__context__) if other is not None]
        if isinstance(link, BaseExceptionGroup):
            links += link.exceptions


def _may_be_cleared(frame: FrameType) -> bool:
    top = str(frame.f_globals.get("__name__", "")).partition(".")[0]
    if top in _OURS or top in sys.stdlib_module_names:
        return True
    return any(part in frame.f_code.co_filename for part in _INSTALLED)


def clears_locals(function: _F) -> _F:
    """`function`, at the border of the package: what is raised out of it carries no locals of ours.

    Functions, coroutine functions, class methods, static methods and properties are taken; generators are not, their
    ``__next__`` is the border.
    """
    made: Any = function
    if isinstance(function, classmethod | staticmethod):
        made = type(function)(clears_locals(function.__func__))
        return cast("_F", made)
    if isinstance(function, property):
        made = property(clears_locals(function.fget), function.fset, function.fdel, function.__doc__)
        return cast("_F", made)
    if inspect.iscoroutinefunction(function):

        @functools.wraps(function)
        async def awaited(*args: Any, **kwargs: Any) -> Any:
            try:
                return await made(*args, **kwargs)
            except BaseException as error:
                args, kwargs = (), {}  # a key may be among them
                clear_locals(error)
                raise

        return cast("_F", awaited)

    @functools.wraps(made)
    def called(*args: Any, **kwargs: Any) -> Any:
        try:
            return made(*args, **kwargs)
        except BaseException as error:
            args, kwargs = (), {}
            clear_locals(error)
            raise

    return cast("_F", called)


def forgetful(cls: _C) -> _C:
    """`cls`, whose constructor and public methods are borders of the package."""
    for name, value in list(vars(cls).items()):
        if name.startswith("_") and name not in _SPECIAL:
            continue
        plain = inspect.isfunction(value) and not inspect.isgeneratorfunction(value)
        if inspect.isasyncgenfunction(value):
            continue
        if plain or isinstance(value, classmethod | staticmethod | property):
            setattr(cls, name, clears_locals(value))
    return cls
