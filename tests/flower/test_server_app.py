import pytest
from flwr.app import Context, Error, Message, RecordDict

from fedjoint.errors import BudgetExhausted, TrainingError
from fedjoint.flower import server_app
from fedjoint.flower.client_app import make_client_app
from fedjoint.flower.messages import REFUSED, SILENT, to_record
from fedjoint.flower.server_app import GridChannel, make_server_app
from fedjoint.training.plan import JoinReply, Parcel, Refusal, Task
from fedjoint.transport.app_node import HOLDER_KEY
from fedjoint.transport.holder_grid import run_server_app
from fedjoint.transport.inline import InlineGrid

TASK = Parcel(body=Task(agreement_sha256="a", run_id="b"))
IDS = ("ahus", "bern", "cork")


class Node:
    """A holder that signs with its own name; bern refuses, cork fails."""

    def __init__(self, name):
        self.name = name

    def answer(self, kind, parcel):
        if self.name == "bern":
            raise BudgetExhausted("nothing is left")
        if self.name == "cork":
            raise OSError("a path of the holder's own disk")
        return Parcel(body=JoinReply(holder=self.name, signature="00"))


class ScriptedGrid(InlineGrid):
    """Gives the replies that a test writes, instead of the app's."""

    def __init__(self, reply):
        super().__init__(None, IDS)
        self.reply = reply

    def send_and_receive(self, messages, *, timeout=None):
        self.timeout = timeout
        for message in messages:
            yield from self.reply(message)


def grid(**options):
    app = make_client_app(lambda context: Node(context.node_config[HOLDER_KEY]))
    return InlineGrid(app, IDS, **options)


def channel(carrier, nodes=None):
    return GridChannel(carrier, carrier.nodes if nodes is None else nodes, timeout_s=60)


def ask(carrier, holders=IDS, kind="join", nodes=None):
    return list(channel(carrier, nodes).exchange(kind, dict.fromkeys(holders, TASK)))


def scripted(*replies):
    return ScriptedGrid(lambda message: [Message(reply, reply_to=message) for reply in replies])


def test_replies_refusals_and_failures_arrive_with_their_codes():
    got = dict(ask(grid()))
    assert got["ahus"] == Parcel(body=JoinReply(holder="ahus", signature="00"))
    assert got["bern"] == Refusal(code="privacy.budget_exhausted", message="nothing is left")
    assert got["cork"] == Refusal(code="holder.failed", message="OSError; see the holder's own log")


def test_a_holder_out_of_reach_counts_as_refused():
    got = dict(ask(grid(reachable=lambda holder, message_type: holder != "ahus")))
    assert got["ahus"] == Refusal(code="holder.unreachable", message="'ahus' does not answer")


def test_a_holder_without_a_connected_node_counts_as_refused():
    carrier = grid()
    nodes = {holder: node for holder, node in carrier.nodes.items() if holder != "bern"}
    got = dict(ask(carrier, nodes=nodes))
    assert got["bern"] == Refusal(code="holder.unreachable", message="no node of this holder is connected")
    assert isinstance(got["ahus"], Parcel)


def test_a_silent_holder_is_answered_for():
    carrier = ScriptedGrid(lambda message: [])
    got = ask(carrier, ("ahus", "cork"))
    assert got == [
        (holder, Refusal(code="holder.silent", message="no reply within 60 s")) for holder in ("ahus", "cork")
    ]
    assert carrier.timeout == 60


def test_every_holder_is_answered_for_once_whatever_comes_back():
    reply = to_record(Parcel(body=JoinReply(holder="ahus", signature="00")))
    assert [holder for holder, _ in ask(scripted(reply, reply, reply))] == list(IDS)


def test_a_reply_of_a_node_that_was_not_asked_is_ignored():
    stranger = to_record(Parcel(body=JoinReply(holder="ahus", signature="00")))

    def reply(message):
        answer = Message(stranger, reply_to=message)
        answer.metadata.__dict__["_src_node_id"] = 99
        return [answer]

    assert ask(ScriptedGrid(reply), ("ahus",)) == [
        ("ahus", Refusal(code="holder.silent", message="no reply within 60 s"))
    ]


@pytest.mark.parametrize(
    "record", [RecordDict(), to_record(TASK), to_record(Parcel(body={"holder": "ahus"}))], ids=["empty", "task", "part"]
)
def test_a_malformed_reply_counts_as_refused(record):
    ((_, got),) = ask(scripted(record), ("ahus",))
    assert got.code == "reply.malformed"


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        (Error(REFUSED, "privacy.refused\nwhy\nand more"), "privacy.refused", "why\nand more"),
        (Error(SILENT, "holder.failed\nOSError"), "holder.failed", "OSError"),
        (Error(5, "Node is gone"), "holder.unreachable", "Node is gone"),
        (Error(5, "privacy.budget_exhausted\nsays a stranger"), "holder.unreachable", "privacy.budget_exhausted\nsays"),
        (Error(0), "holder.unreachable", ""),
        (Error(REFUSED, ""), "holder.unreachable", ""),
        (Error(REFUSED, "x" * 5000), "holder.unreachable", "x" * 2000),
        (Error(REFUSED, "<script>\nwords"), "holder.unreachable", "<script>\nwords"),
        (Error(REFUSED, "some.code\n" + "y" * 5000), "some.code", "y" * 2000),
    ],
)
def test_codes_are_ours_or_the_holder_counts_as_unreachable_and_words_are_cut(error, code, message):
    ((_, got),) = ask(scripted(error), ("ahus",))
    assert got.code == code and got.message.startswith(message) and len(got.message) <= 2000


def test_a_kind_that_the_holders_app_does_not_know_counts_as_refused(monkeypatch):
    monkeypatch.setattr(server_app, "message_type", lambda kind: "query.sell_records")
    ((_, got),) = ask(grid(), ("ahus",))
    assert got == Refusal(code="holder.unreachable", message="ValueError")


def test_a_server_app_runs_once_with_the_nodes_that_it_finds():
    carrier, runs = grid(), []

    def run(found):
        runs.append(dict(found.exchange("join", {"ahus": TASK})))

    run_server_app(make_server_app(run, lambda found: found.nodes, timeout_s=60), carrier)
    assert runs == [{"ahus": Parcel(body=JoinReply(holder="ahus", signature="00"))}]


def test_a_server_app_without_nodes_is_an_error_that_says_so():
    carrier = grid()
    app = make_server_app(lambda found: None, lambda found: {}, timeout_s=60)
    with pytest.raises(TrainingError, match="no holder's node is connected"):
        app(carrier, Context(carrier.run.run_id, 1, {}, RecordDict(), {}))
