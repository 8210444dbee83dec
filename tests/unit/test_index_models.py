"""Other ways of indexing, as the settings name them."""

import pytest

from s4.entrypoints.bootstrap.parts import make_models
from s4.entrypoints.configuration import handed_on, read_configuration, taken_over
from s4.kernel.errors import InvalidRequest
from s4.kernel.settings import Settings
from s4.platform.telemetry import logs


@pytest.mark.parametrize(
    ("models", "sentence"),
    [
        ('{"default": {}}', "no name for a model"),
        ('{"Large": {}}', "no name for a model"),
        ('{"large": {"provider": "openai", "model": "m"}}', "S4_INDEX_MODELS: large needs its dimension"),
        ('{"fine": {"chunk_tokens_max": 40}}', "at most half"),
        ('{"fine": {"chunks": 40}}', "S4_INDEX_MODELS"),
        ("large", "not JSON"),
    ],
)
def test_what_is_no_model_is_refused_with_its_reason(
    models: str, sentence: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("S4_INDEX_MODELS", models)
    with pytest.raises(InvalidRequest, match=sentence):
        read_configuration()


def test_a_model_is_what_it_says_and_otherwise_what_the_deployment_says() -> None:
    models = make_models(
        Settings.model_validate(
            {
                "embedding_provider": "deterministic",
                "chunk_tokens_max": 128,
                "index_models": {"fine": {"chunk_tokens_max": 64}, "wide": {"dimension": 512}, "same": {}},
            }
        )
    )
    fine, wide = models.by_name("fine"), models.by_name("wide")
    assert (fine.chunk_tokens_max, fine.embedder) == (64, models.own.embedder), "one embedder cuts in two ways"
    assert (wide.chunk_tokens_max, wide.generation.dimension) == (128, 512)
    assert {model.name for model in models.others()} == {"fine", "wide"}, "the third is the deployment's own"
    assert models.serving(wide.generation.id) is wide
    with pytest.raises(InvalidRequest, match="names default, fine, same, wide"):
        models.by_name("large")


def test_a_models_key_is_handed_on_to_the_worker_and_written_nowhere() -> None:
    model = {"provider": "openai", "dimension": 8, "api_key": "sk-of-another"}
    settings = Settings.model_validate({"index_models": {"large": model}})
    assert "sk-of-another" in logs.known_secrets(settings)
    assert "sk-of-another" not in repr(settings)
    again = taken_over(handed_on(settings)).index_models["large"].api_key
    assert again is not None
    assert again.get_secret_value() == "sk-of-another"
