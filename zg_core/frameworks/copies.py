"""Objects made as pydantic makes copies: of one that was validated, with values that need no validation."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Generic, TypeVar

if TYPE_CHECKING:
    from pydantic import BaseModel

__all__ = ["Copies"]

_Model = TypeVar("_Model", bound="BaseModel")


class Copies(Generic[_Model]):
    """Makes copies of `model`.

    Args:
        model: As its constructor made it; the fields that it was given are those that copies were given.

    Example:
        >>> from pydantic import BaseModel
        >>> class Message(BaseModel):
        ...     text: str
        >>> Copies(Message(text="a")).made({"text": "b"})
        Message(text='b')
    """

    __slots__ = ("_by_hand", "_extra", "_kind", "_model", "_said", "_values")

    def __init__(self, model: _Model) -> None:
        self._model = model
        self._kind: type[_Model] = type(model)
        self._values = vars(model)
        self._said = model.__pydantic_fields_set__
        self._extra = model.__pydantic_extra__ is not None
        self._by_hand = True
        try:
            self._by_hand = _insides(self.made({})) == _insides(model.model_copy())
        except (AttributeError, TypeError):
            self._by_hand = False  # pydantic keeps its objects in another way

    def made(self, values: dict[str, Any]) -> _Model:
        """A copy with other `values`. What can be changed in place must be among them, or copies share it."""
        if not self._by_hand:
            return self._model.model_copy(update=values)
        made = _new(self._kind)
        _put(made, "__dict__", self._values | values)
        _put(made, "__pydantic_fields_set__", self._said.copy())
        _put(made, "__pydantic_extra__", {} if self._extra else None)
        _put(made, "__pydantic_private__", None)
        return made


_new, _put = object.__new__, object.__setattr__


def _insides(model: BaseModel) -> list[Any]:
    """All that pydantic keeps of `model`."""
    kept = (getattr(model, f"__pydantic_{name}__") for name in ("fields_set", "extra", "private"))
    return [type(model), vars(model), *kept]
