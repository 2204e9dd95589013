"""What happens to a request before it is forwarded and hashed."""

import json

import pytest

from zg_core.localnet.provider import gojson
from zg_core.localnet.provider.rewrite import NotPreparedError, Prepared, go_quote, prepare


def run(body, *, adapter="ft-m-1", remarshal=False, mismatches=None, **names):
    try:
        document = gojson.loads(body)
    except ValueError:
        document = None
    return prepare(
        body,
        document,
        model="m",
        adapter=adapter,
        remarshal=remarshal,
        on_mismatch=lambda: mismatches is not None and mismatches.append(1),
        **names,
    )


@pytest.mark.parametrize(
    "body",
    [
        b'{ "model": "m", "messages": [] }',
        b'{"stream":false,"model":"m"}',
        b'{"stream":"true","model":"m"}',
        b'{"messages":[]}',
        b'{"stream":true,"stream_options":{"include_usage":true},"model":"m"}',
        b'{"stream":true,"stream_options":{"include_usage":false},"model":"m"}',
        b'{"stream":true,"stream_options":{"include_usage":null},"model":"m"}',
    ],
)
def test_nothing_to_do_leaves_every_byte(body):
    assert run(body) == Prepared(body)


@pytest.mark.parametrize(
    "options", ["", ',"stream_options":null', ',"stream_options":"x"', ',"stream_options":{}', ',"stream_options":[1]']
)
def test_a_stream_without_a_word_on_usage_is_asked_for_it(options):
    body = (
        '{"stream":true,"temperature":1.0,"model":"m"' + options + ',"messages":[{"content":"<é>","role":"user"}]}'
    ).encode()
    assert run(body).body.decode() == (
        '{"messages":[{"content":"\\u003cé\\u003e","role":"user"}],"model":"m","stream":true,'
        '"stream_options":{"include_usage":true},"temperature":1}'
    )


def test_other_stream_options_are_kept():
    body = b'{"stream":true,"stream_options":{"chunk":2},"model":"m"}'
    assert json.loads(run(body).body)["stream_options"] == {"chunk": 2, "include_usage": True}


def test_remarshalling_changes_form_and_not_meaning():
    body = b'{ "model" : "m", "messages":[], "top_p": 0.50, "a": "&" }'
    done = run(body, remarshal=True).body
    assert done == rb'{"a":"\u0026","messages":[],"model":"m","top_p":0.5}'
    assert run(done, remarshal=True).body == done


def test_a_missing_model_is_filled_in_only_when_bodies_are_remarshalled():
    assert run(b'{"messages":[]}', remarshal=True).body == b'{"messages":[],"model":"m"}'


def test_an_adapter_is_rewritten_to_its_base_model():
    assert run(b'{"model":"ft-m-1","messages":[]}') == Prepared(
        b'{"lora_adapter_name":"ft-m-1","messages":[],"model":"m"}', "ft-m-1"
    )


def test_an_alias_is_replaced_by_the_model_behind_it():
    done = run(b'{"model":"latest","messages":[]}', aliases=("latest",))
    assert done == Prepared(b'{"messages":[],"model":"m"}', "latest")
    assert done.for_model == done.body


@pytest.mark.parametrize("asked", ["m", "latest"])
def test_an_upstreams_name_is_what_is_signed_and_the_models_own_what_it_gets(asked):
    body = b'{"model":"%s","top_p":0.50}' % asked.encode()
    done = run(body, aliases=("latest",), upstream_model="vendor/m-1")
    assert done.body == b'{"model":"vendor/m-1","top_p":0.5}'
    assert (done.asked, done.for_model) == (asked, b'{"model":"m","top_p":0.5}')
    assert run(b'{"messages":[]}', upstream_model="v").body == b'{"messages":[],"model":"v"}'


def test_an_adapter_of_a_model_with_an_upstreams_name():
    done = run(b'{"model":"ft-m-1"}', upstream_model="v")
    assert done.body == b'{"lora_adapter_name":"ft-m-1","model":"v"}'
    assert done.for_model == b'{"model":"m"}'


def test_another_model_is_refused_and_counted():
    counted = []
    with pytest.raises(NotPreparedError) as refused:
        run(b'{"model":"gpt-\\"4","messages":[]}', mismatches=counted)
    assert str(refused.value) == (
        'enforce configured model: model not supported: requested "gpt-\\"4", accepted: ["m"]'
    )
    assert counted == [1]


def test_an_adapter_that_is_not_served_is_another_model():
    with pytest.raises(NotPreparedError, match="model not supported"):
        run(b'{"model":"ft-m-1"}', adapter=None)


@pytest.mark.parametrize("body", [b"", b"nope", b"[]", b'"x"', b"null"])
def test_what_is_no_json_object_is_refused(body):
    with pytest.raises(NotPreparedError, match="failed to parse JSON body"):
        run(body)


def test_a_model_must_be_a_string():
    with pytest.raises(NotPreparedError, match=r"invalid model type in request \(expected string\)"):
        run(b'{"model":3}')


def test_quoting_as_go_does():
    assert go_quote('a"b\\c') == '"a\\"b\\\\c"'
