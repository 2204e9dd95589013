"""LangChain's standard integration suite as every network runs it: one model a class, and what our models take."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from langchain_core.language_models import BaseChatModel
from langchain_tests.integration_tests import ChatModelIntegrationTests

from langchain_zerog import ChatZeroG


class Suite(ChatModelIntegrationTests):
    """What is the same on every network."""

    @pytest.fixture(scope="class")
    @classmethod
    def shared(cls) -> Iterator[ChatZeroG]:
        """One model for the class: a new one would read the chain first in every test."""
        suite = cls()
        model = ChatZeroG(**{**suite.standard_chat_model_params, **suite.chat_model_params})
        yield model
        model.close()

    @pytest.fixture
    def model(self, shared: ChatZeroG) -> BaseChatModel:
        return shared

    @property
    def chat_model_class(self) -> type[BaseChatModel]:
        return ChatZeroG

    @property
    def supports_json_mode(self) -> bool:
        return True

    @property
    def supports_image_inputs(self) -> bool:
        return True

    @property
    def supports_image_urls(self) -> bool:
        return True

    @property
    def supports_pdf_inputs(self) -> bool:
        return True

    @property
    def supports_audio_inputs(self) -> bool:
        return True

    @property
    def supports_anthropic_inputs(self) -> bool:
        return True

    @property
    def supports_image_tool_message(self) -> bool:
        return True

    @property
    def supports_pdf_tool_message(self) -> bool:
        return True
