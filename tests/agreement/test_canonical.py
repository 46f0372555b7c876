from __future__ import annotations

import json
import math
import struct
from dataclasses import dataclass

import pytest
import rfc8785
from hypothesis import given, settings
from hypothesis import strategies as st

from fedjoint.agreement.canonical import canonical_bytes, parse_canonical, sha256_hex
from fedjoint.errors import AgreementError, RecordError

#: RFC 8785, appendix B: the bits of a double and its canonical text.
NUMBERS = {
    "0000000000000000": "0",
    "8000000000000000": "0",
    "0000000000000001": "5e-324",
    "8000000000000001": "-5e-324",
    "7fefffffffffffff": "1.7976931348623157e+308",
    "ffefffffffffffff": "-1.7976931348623157e+308",
    "4340000000000000": "9007199254740992",
    "c340000000000000": "-9007199254740992",
    "4430000000000000": "295147905179352830000",
    "44b52d02c7e14af5": "9.999999999999997e+22",
    "44b52d02c7e14af6": "1e+23",
    "44b52d02c7e14af7": "1.0000000000000001e+23",
    "444b1ae4d6e2ef4e": "999999999999999700000",
    "444b1ae4d6e2ef4f": "999999999999999900000",
    "444b1ae4d6e2ef50": "1e+21",
    "3eb0c6f7a0b5ed8c": "9.999999999999997e-7",
    "3eb0c6f7a0b5ed8d": "0.000001",
    "41b3de4355555553": "333333333.3333332",
    "41b3de4355555554": "333333333.33333325",
    "41b3de4355555555": "333333333.3333333",
    "41b3de4355555556": "333333333.3333334",
    "41b3de4355555557": "333333333.33333343",
    "becbf647612f3696": "-0.0000033333333333333333",
    "43143ff3c1cb0959": "1424953923781206.2",
}
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53) + 1, 2**53 - 1) | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
).filter(lambda value: "Infinity" not in json.dumps(value))


def parse(data: bytes):
    return parse_canonical(data, error=RecordError, where="line 1")


@pytest.mark.parametrize(("bits", "text"), NUMBERS.items())
def test_numbers_are_written_as_in_rfc_8785_appendix_b_and_read_back(bits, text):
    (number,) = struct.unpack(">d", bytes.fromhex(bits))
    assert canonical_bytes(number) == text.encode()
    assert parse(text.encode()) == number


def test_the_sample_of_rfc_8785_section_3_2_2_is_written_as_published():
    sample = {
        "numbers": [333333333.33333329, 1e30, 4.50, 2e-3, 0.000000000000000000000000001],
        "string": "\u20ac$\u000f\u000aA'\u0042\u0022\u005c\\\"/",
        "literals": [None, True, False],
    }
    assert canonical_bytes(sample).hex() == (
        "7b226c69746572616c73223a5b6e756c6c2c747275652c66616c73655d2c226e"
        "756d62657273223a5b3333333333333333332e333333333333332c31652b3330"
        "2c342e352c302e3030322c31652d32375d2c22737472696e67223a22e282ac24"
        "5c75303030665c6e4127425c225c5c5c5c5c222f227d"
    )


def test_keys_are_sorted_by_utf_16_as_in_rfc_8785_section_3_2_3():
    unsorted = ["\u20ac", "\r", "\ufb33", "1", "\U0001f600", "\u0080", "\u00f6"]
    written = canonical_bytes(dict.fromkeys(unsorted, 0)).decode()
    assert list(json.loads(written)) == ["\r", "1", "\u0080", "\u00f6", "\u20ac", "\U0001f600", "\ufb33"]


@settings(max_examples=300)
@given(JSON | st.text(st.characters(max_codepoint=0x9F)))
def test_the_quick_way_and_the_reference_spell_alike(value):
    assert canonical_bytes(value) == rfc8785.dumps(value)


@given(JSON)
def test_what_was_written_is_read_back_and_written_alike(value):
    data = canonical_bytes(value)
    assert parse(data) == value
    assert canonical_bytes(parse(data)) == data


@given(JSON)
def test_a_line_break_or_an_indented_spelling_is_refused(value):
    data = canonical_bytes(value)
    for other in (data + b"\n", b" " + data, b"\xef\xbb\xbf" + data, json.dumps([value], indent=1).encode()):
        with pytest.raises(RecordError):
            parse(other)


@pytest.mark.parametrize(
    "spelling",
    [b"1.0", b"-0", b"1E2", b"1e2", b"+1", b"01", b".5", b"9007199254740993", b"1" * 400, b"1" * 5000, b"1e999"],
)
def test_another_spelling_of_a_number_is_refused(spelling):
    with pytest.raises(RecordError, match=r"line 1 is not"):
        parse(spelling)


@pytest.mark.parametrize(
    "spelling", [b'"\\u0041"', b'"\\/"', b'"\\u000F"', b'"\\ud800"', b'{"b":1,"a":2}', b'"\x7f\xff"']
)
def test_another_spelling_of_a_string_or_order_of_keys_is_refused(spelling):
    with pytest.raises(RecordError):
        parse(spelling)


@pytest.mark.parametrize("text", [b"", b"NaN", b"Infinity", b"-Infinity", b"[1,]", b"{}{}", b"\xff", b'{"a":1,"a":1}'])
def test_what_is_not_json_or_names_a_key_twice_is_refused(text):
    with pytest.raises(RecordError, match="line 1 is not JSON"):
        parse(text)


@pytest.mark.parametrize("depth", [900, 5_000, 200_000])
def test_nesting_that_cannot_be_walked_is_refused_and_not_a_crash(depth):
    with pytest.raises(RecordError):
        parse(b"[" * depth + b"]" * depth)


@pytest.mark.parametrize("value", [math.nan, math.inf, 2**53, -(2**53), {1, 2}, b"x", "\ud800", object()])
def test_a_value_without_canonical_form_is_refused(value):
    with pytest.raises(AgreementError, match="no canonical JSON"):
        canonical_bytes({"a": [value]})


def test_a_value_nested_in_itself_is_refused():
    circle: list[object] = []
    circle.append(circle)
    with pytest.raises(AgreementError, match="no canonical JSON"):
        canonical_bytes(circle)


def test_a_dataclass_is_written_as_its_fields():
    @dataclass(frozen=True)
    class Pair:
        b: float
        a: tuple[int, ...]

    assert canonical_bytes(Pair(b=2.0, a=(1, 2))) == b'{"a":[1,2],"b":2}'


def test_the_hash_is_sha_256_as_in_fips_180_4():
    assert sha256_hex(b"abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
