"""Limits of a link."""

import pytest

from fedjoint.errors import InvalidValue
from fedjoint.transport.link.settings import LinkSettings, channel_options


@pytest.mark.parametrize("field", ["chunk_bytes", "max_message_bytes", "beat_s", "beats_lost", "hello_s", "backoff_s"])
@pytest.mark.parametrize("value", [0, 1 << 50])
def test_a_setting_out_of_range_is_refused_by_name(field, value):
    with pytest.raises(InvalidValue, match=f"link.{field} = "):
        LinkSettings(**{field: value})


def test_grpc_takes_a_chunk_and_no_more():
    options = dict(channel_options(LinkSettings(chunk_bytes=1 << 20)))
    assert 1 << 20 < options["grpc.max_receive_message_length"] < 2 << 20
