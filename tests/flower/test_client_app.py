import logging

import pytest
from flwr.app import Context, Message, RecordDict

from fedjoint.errors import BudgetExhausted, DataError
from fedjoint.flower.client_app import make_client_app
from fedjoint.flower.messages import REFUSED, SILENT, from_record, message_type, to_record
from fedjoint.training.plan import TASKS, JoinReply, Parcel, RoundTask, Task
from fedjoint.transport.inline import InlineGrid

SECRET = "patient 17, born 1961, is HIV positive"
TASK = Task(agreement_sha256="a", run_id="b")


class FakeHolder:
    """Answers with what it was given, or raises it."""

    def __init__(self, answer):
        self.given, self.asked = answer, []

    def answer(self, kind, parcel):
        self.asked.append((kind, parcel.body))
        if isinstance(self.given, BaseException):
            raise self.given
        return self.given


@pytest.fixture
def context():
    InlineGrid(None, ["ahus"])  # tells Flower which run and node this process is
    return Context(1, 2, {"holder": "ahus"}, RecordDict(), {})


def ask(holder, context, kind="join", body=TASK, record=None):
    app = make_client_app(holder if callable(holder) else lambda _: holder)
    content = to_record(Parcel(body=body)) if record is None else record
    return app(Message(content, dst_node_id=2, message_type=message_type(kind)), context)


def test_an_answer_comes_back_as_it_was_given(context):
    given = Parcel(body=JoinReply(holder="ahus", signature="00"), blobs={"more": b"bytes"})
    holder = FakeHolder(given)
    assert from_record(ask(holder, context).content, JoinReply) == given
    assert holder.asked == [("join", TASK)]


def test_every_kind_of_task_reaches_the_holder_as_its_own_kind(context):
    holder = FakeHolder(BudgetExhausted("no more"))
    for kind in ("join", "make_key"):
        ask(holder, context, kind)
    ask(holder, context, "train", RoundTask(agreement_sha256="a", run_id="b", round=1))
    assert [kind for kind, _ in holder.asked] == ["join", "make_key", "train"]
    for kind in TASKS:  # whatever a task lacks, it is refused by words and not by silence
        assert ask(holder, context, kind, record=RecordDict()).error.code == REFUSED


def test_the_node_says_which_holder_it_belongs_to_and_not_the_message(context):
    asked = []

    def open_holder(found):
        asked.append(found.node_config["holder"])
        return FakeHolder(BudgetExhausted("no more"))

    ask(open_holder, context)
    assert asked == ["ahus"]


def test_a_refusal_travels_with_its_code_and_words(context):
    reply = ask(FakeHolder(BudgetExhausted("nothing is left", remedy="Stop.")), context)
    assert (reply.error.code, reply.error.reason) == (
        REFUSED,
        "privacy.budget_exhausted\nnothing is left. Stop.",
    )


@pytest.mark.parametrize(
    "failure",
    [ValueError(SECRET), KeyError(SECRET), RuntimeError(SECRET), AssertionError(SECRET), ZeroDivisionError(SECRET)],
    ids=lambda failure: type(failure).__name__,
)
def test_a_foreign_errors_text_never_leaves_the_holder(context, caplog, failure):
    with caplog.at_level(logging.DEBUG):
        reply = ask(FakeHolder(failure), context)
    assert reply.error.code == SILENT
    assert reply.error.reason == f"holder.failed\n{type(failure).__name__}; see the holder's own log"
    assert SECRET.encode() not in reply.deflate()
    assert SECRET in caplog.text  # the holder's own people can read it, if they ask for that much


def test_a_foreign_error_behind_one_of_ours_does_not_leave_either(context):
    try:
        try:
            raise ValueError(SECRET)
        except ValueError as cause:
            raise DataError("a record is malformed") from cause
    except DataError as refusal:
        reply = ask(FakeHolder(refusal), context)
    assert reply.error.reason == "data.refused\na record is malformed"


def test_an_error_in_finding_the_holder_or_in_reading_the_message_does_not_leave(context):
    def broken(_):
        raise OSError(SECRET)

    assert SECRET not in ask(broken, context).error.reason
    assert ask(FakeHolder(object()), context).error.reason.startswith("holder.failed")


def test_what_is_no_error_but_the_end_of_the_process_is_not_swallowed(context):
    with pytest.raises(KeyboardInterrupt):
        ask(FakeHolder(KeyboardInterrupt()), context)
