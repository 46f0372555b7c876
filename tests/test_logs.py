"""A node's log holds no value of a record."""

import io
import json
import logging

import pytest

from fedjoint.logs import log_to


@pytest.fixture
def stream():
    loggers = [logging.getLogger(name) for name in (None, "fedjoint", "flwr")]
    before = [(list(one.handlers), one.level, one.propagate) for one in loggers]
    found = io.StringIO()
    log_to(found, level="info")
    yield found
    for one, (handlers, level, propagate) in zip(loggers, before, strict=True):
        one.handlers[:], one.propagate = handlers, propagate
        one.setLevel(level)


def lines(stream):
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_an_exceptions_text_is_not_written(stream):
    try:
        raise ValueError("patient 17: HIV positive")
    except ValueError:
        logging.getLogger("fedjoint.node").error("a task failed", exc_info=True)
    (event,) = lines(stream)
    assert (event["event"], event["exception"]) == ("a task failed", "ValueError")
    assert "HIV" not in stream.getvalue()


def test_other_packages_chatter_is_left_out_and_their_warnings_are_kept(stream):
    logging.getLogger("fedjoint.node").debug("no")
    logging.getLogger("flwr").info("no")
    logging.getLogger("grpc").warning("yes")
    assert [event["event"] for event in lines(stream)] == ["yes"]
