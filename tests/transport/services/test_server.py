"""The exchange's calls over mutual TLS on loopback: what is answered, and each refusal with its reason."""

import os
import socket
import ssl
import threading
import time
from contextlib import contextmanager
from datetime import timedelta

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from fedjoint.errors import AgreementError, FedjointError, IdentityError, TransportError
from fedjoint.identity.certificates import check_certificate, make_authority
from fedjoint.transport.link.client import ClientCredentials
from fedjoint.transport.link.server import LinkServer
from fedjoint.transport.link.settings import LinkSettings
from fedjoint.transport.link.versions import VersionRefused
from fedjoint.transport.services import client as client_module
from fedjoint.transport.services import exchange_pb2 as api
from fedjoint.transport.services.client import ExchangeClient
from fedjoint.transport.services.protocol import ROLES, SERVICE, handler_name
from fedjoint.transport.services.refusals import CallerRefused, Unreachable
from fedjoint.transport.services.server import ExchangeServices
from tests.network import QUICK, Network, node, now

METHODS = [method.name for method in api.DESCRIPTOR.services_by_name["Exchange"].methods]


class Handler:
    """Answers every call with an empty reply, and remembers it."""

    def __init__(self):
        self.calls, self.failure, self.document = [], None, b""

    def __getattr__(self, name):
        def answer(caller, request):
            self.calls.append((name, caller.party))
            if self.failure is not None:
                raise self.failure
            if name == "get_agreement":
                return api.GetAgreementReply(agreement=self.document)
            (method,) = (method for method in METHODS if handler_name(method) == name)
            return getattr(api, f"{method}Reply")()

        return answer


@pytest.fixture(scope="module")
def network():
    return Network()


@pytest.fixture
def handler():
    return Handler()


@contextmanager
def serving(network, handler, *, settings=QUICK, **times):
    def admit(pem):
        certificate = check_certificate(pem, network.authority.pem, now=now())
        if certificate.party in network.revoked:
            raise IdentityError(f"the certificate of '{certificate.party}' was revoked")
        return certificate

    services = ExchangeServices(handler, admit, **times)
    with LinkServer(
        "127.0.0.1:0",
        network.server_credentials,
        admit=network.admit,
        on_reply=lambda *reply: None,
        settings=settings,
        services=services.add_to,
    ) as server:
        yield server
    services.close()


@pytest.fixture
def server(network, handler):
    with serving(network, handler) as running:
        yield running


def asking(server, credentials, **how):
    return ExchangeClient(f"localhost:{server.port}", credentials, patience_s=how.pop("patience_s", 0.5), **how)


def refused(server, credentials, method="agreements", *arguments):
    with asking(server, credentials) as client, pytest.raises(FedjointError) as problem:
        getattr(client, method)(*arguments)
    return problem.value


@contextmanager
def channel_of(server, credentials):
    tls = grpc.ssl_channel_credentials(credentials.authority_pem, credentials.key_pem, credentials.certificate_pem)
    options = [("grpc.max_send_message_length", -1)]
    with grpc.secure_channel(f"localhost:{server.port}", tls, options=options) as channel:
        yield channel


# -- what is answered


def test_every_method_of_the_protocol_has_roles_and_a_handler():
    from fedjoint.transport.services.handler import Handler as Declared

    assert set(ROLES) == set(METHODS)
    assert {handler_name(method) for method in METHODS} - {"hello"} <= set(dir(Declared))


def test_a_holder_is_answered_as_the_party_of_its_certificate(network, server, handler):
    with asking(server, network.credentials("bern")) as client:
        assert client.hello().software.startswith("fedjoint ")
        client.agreements()
        client.sign("ab" * 32, "cd" * 64)
    assert handler.calls == [("agreements", "bern"), ("sign", "bern")]


def test_an_agreement_larger_than_a_links_frame_arrives(network, server, handler):
    handler.document = os.urandom(5 << 20)
    with asking(server, network.credentials("bern")) as client:
        assert client.get_agreement("ab" * 32) == handler.document


def test_links_and_calls_share_one_port(network, server):
    with (
        node(server.port, network.credentials("bern"), lambda data: (b"",)),
        channel_of(server, network.credentials("cork")) as channel,
    ):
        reply = health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(service=SERVICE), timeout=5)
        assert reply.status == health_pb2.HealthCheckResponse.SERVING
        request = reflection_pb2.ServerReflectionRequest(list_services="")
        (found,) = reflection_pb2_grpc.ServerReflectionStub(channel).ServerReflectionInfo(iter([request]), timeout=5)
        assert {one.name for one in found.list_services_response.service} >= {SERVICE, "fedjoint.link.v1.Link"}


def test_a_call_waits_for_an_exchange_that_is_not_there_yet(network, handler):
    with socket.create_server(("127.0.0.1", 0)) as reserved:
        port = reserved.getsockname()[1]
    with ExchangeClient(f"localhost:{port}", network.credentials("bern"), patience_s=10) as client:
        started = threading.Event()

        def later():
            started.wait(5)
            time.sleep(0.5)
            services = ExchangeServices(handler, lambda pem: check_certificate(pem, network.authority.pem, now=now()))
            with LinkServer(
                f"127.0.0.1:{port}",
                network.server_credentials,
                admit=network.admit,
                on_reply=print,
                settings=QUICK,
                services=services.add_to,
            ):
                done.wait(10)

        done = threading.Event()
        thread = threading.Thread(target=later)
        thread.start()
        try:
            started.set()
            client.agreements()
        finally:
            done.set()
            thread.join()
    assert handler.calls == [("agreements", "bern")]


# -- what is refused


def test_an_exchange_that_is_not_there_is_named(network):
    with (
        ExchangeClient("localhost:1", network.credentials("bern"), patience_s=0.1) as client,
        pytest.raises(Unreachable, match="localhost:1 cannot be reached"),
    ):
        client.agreements()


@pytest.mark.parametrize("method", [*METHODS, "health", "reflection"])
def test_without_a_certificate_no_method_answers(network, server, handler, method):
    tls = grpc.ssl_channel_credentials(network.authority.pem)
    with grpc.secure_channel(f"localhost:{server.port}", tls) as channel, pytest.raises(grpc.RpcError) as problem:
        raw(channel, method)
    assert problem.value.code() == grpc.StatusCode.UNAVAILABLE
    assert handler.calls == []


@pytest.mark.parametrize("method", [*METHODS, "health", "reflection"])
def test_a_revoked_certificate_opens_no_method(network, server, handler, method):
    network.revoked.add("gone")
    with channel_of(server, network.credentials("gone")) as channel, pytest.raises(grpc.RpcError) as problem:
        raw(channel, method)
    assert problem.value.code() == grpc.StatusCode.UNAUTHENTICATED
    assert "'gone' was revoked" in problem.value.details()
    assert handler.calls == []


def raw(channel, method):
    if method == "health":
        return health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(), timeout=5)
    if method == "reflection":
        request = reflection_pb2.ServerReflectionRequest(list_services="")
        return list(reflection_pb2_grpc.ServerReflectionStub(channel).ServerReflectionInfo(iter([request]), timeout=5))
    return channel.unary_unary(f"/{SERVICE}/{method}")(b"", timeout=5)


def test_a_revocation_works_between_two_calls_of_one_connection(network, server):
    with asking(server, network.credentials("fired")) as client:
        client.agreements()
        network.revoked.add("fired")
        with pytest.raises(IdentityError, match="'fired' was revoked"):
            client.agreements()


@pytest.mark.parametrize(
    "how",
    [
        {"authority": make_authority("Somebody else", now=now())},
        {"now": now() - timedelta(days=60), "days": 30},
    ],
    ids=["was not signed by this exchange", "expired on"],
)
def test_a_certificate_that_is_not_valid_does_not_get_through_tls_and_the_node_says_why(
    network, server, handler, how, request
):
    problem = refused(server, network.credentials("bern", **how))
    assert isinstance(problem, IdentityError)
    assert request.node.callspec.id in str(problem)
    assert handler.calls == []


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("role", ["holder", "invited", "operator", "exchange"])
def test_each_method_is_for_its_roles_only(network, server, handler, method, role):
    allowed = role in ROLES[method] and role != "exchange"  # TLS itself takes an exchange's from no client
    with channel_of(server, network.credentials("bern", role=role)) as channel:
        if allowed and method != "Hello":
            raw(channel, method)
            assert handler.calls == [(handler_name(method), "bern")]
            return
        with pytest.raises(grpc.RpcError) as problem:
            raw(channel, method)
    expected = {"Hello": {grpc.StatusCode.FAILED_PRECONDITION}}.get(method, {grpc.StatusCode.PERMISSION_DENIED})
    assert problem.value.code() in ({grpc.StatusCode.UNAVAILABLE} if role == "exchange" else expected)
    if problem.value.code() == grpc.StatusCode.PERMISSION_DENIED:
        assert f"a certificate of role '{role}' may not ask for {method}" in problem.value.details()
    assert handler.calls == []


def test_no_role_has_a_method_of_another():
    of = {role: {method for method in METHODS if role in ROLES[method]} for role in ("holder", "invited", "operator")}
    assert of["operator"] == {"Hello", "Propose", "Status"}
    assert of["invited"] == {"Hello", "Enrol"}
    assert of["holder"] == set(METHODS) - {"Enrol", "Propose", "Status"}


def test_an_invited_party_is_told_to_enrol_first(network, server):
    problem = refused(server, network.credentials("bern", role="invited"))
    assert isinstance(problem, CallerRefused)
    assert problem.remedy == "Enrol first, or ask the exchange's operator."


def test_a_node_of_another_version_is_told_which_is_spoken(network, server, handler, monkeypatch):
    monkeypatch.setattr(client_module, "API_VERSIONS", (7, 9))
    problem = refused(server, network.credentials("bern"))
    assert isinstance(problem, VersionRefused)
    assert "speaks versions 7 to 9 of the exchange's calls" in str(problem)
    assert "same release of fedjoint" in problem.remedy
    assert handler.calls == []


def test_a_method_that_this_exchange_does_not_know_says_so(network, server):
    with asking(server, network.credentials("bern")) as client, pytest.raises(TransportError, match="same release"):
        client._ask("FutureMethod", api.AgreementsRequest(), api.AgreementsReply)


def test_what_the_handler_refuses_reaches_the_node_with_its_remedy(network, server, handler):
    handler.failure = AgreementError("it was signed before", expected="a proposed one", remedy="Ask again.")
    problem = refused(server, network.credentials("bern"), "decline", "ab" * 32, "no")
    assert type(problem) is AgreementError
    assert (problem.problem, problem.expected, problem.remedy) == (
        "it was signed before",
        "a proposed one",
        "Ask again.",
    )


def test_what_breaks_in_the_handler_does_not_reach_the_node(network, server, handler, caplog):
    handler.failure = RuntimeError("SELECT token FROM invitations")
    problem = refused(server, network.credentials("bern"))
    assert isinstance(problem, TransportError)
    assert "token" not in str(problem) and "internal error" in str(problem)
    assert "RuntimeError" in caplog.text


def test_a_handler_that_hangs_costs_its_caller_a_deadline(network):
    release = threading.Event()

    class Hanging(Handler):
        def agreements(self, caller, request):
            release.wait(10)
            return api.AgreementsReply()

    with serving(network, Hanging(), answer_s=0.3) as server:
        assert "did not answer in time" in str(refused(server, network.credentials("bern")))
        release.set()


def test_bytes_that_are_no_request_are_refused(network, server, handler):
    with channel_of(server, network.credentials("bern")) as channel, pytest.raises(grpc.RpcError) as problem:
        channel.unary_unary(f"/{SERVICE}/Sign")(b"\xff" * 100, timeout=5)
    assert problem.value.code() == grpc.StatusCode.INVALID_ARGUMENT
    assert "no SignRequest" in problem.value.details()
    assert handler.calls == []


def test_a_message_beyond_the_limit_is_refused(network, server, handler):
    with channel_of(server, network.credentials("bern")) as channel, pytest.raises(grpc.RpcError) as problem:
        channel.unary_unary(f"/{SERVICE}/RegisterDataset")(bytes(100 << 20), timeout=20)
    assert problem.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
    assert handler.calls == []


def test_junk_of_100_mb_under_tls_is_cut_off_and_nobody_else_notices(network, server, handler):
    """Not even HTTP/2: 100 MB of zeros on a connection with a good certificate."""
    with asking(server, network.credentials("cork")) as client:
        client.agreements()
        sent = 0
        with secure_socket(server, network.credentials("bern")) as junk, pytest.raises(OSError):
            for _ in range(100):
                junk.sendall(bytes(1 << 20))
                sent += 1
        assert sent < 100
        client.agreements()
    assert handler.calls == [("agreements", "cork")] * 2


def test_a_slow_loris_before_tls_is_cut_off(network, handler):
    with serving(network, handler, settings=LinkSettings(hello_s=0.5)) as server:
        with socket.create_connection(("127.0.0.1", server.port), timeout=10) as silent:
            assert silent.recv(1) == b""
        with asking(server, network.credentials("cork")) as client:
            client.agreements()


def test_a_slow_loris_within_a_call_is_cut_off(network, handler):
    """A request of which nothing comes."""
    with serving(network, handler, request_s=0.3) as server:
        never = threading.Event()

        def requests():
            never.wait(10)
            yield b""

        with channel_of(server, network.credentials("bern")) as channel, pytest.raises(grpc.RpcError) as problem:
            channel.stream_unary(f"/{SERVICE}/Agreements")(requests(), timeout=10)
        never.set()
        assert problem.value.code() == grpc.StatusCode.DEADLINE_EXCEEDED
        assert "did not come whole" in problem.value.details()
    assert handler.calls == []


@contextmanager
def secure_socket(server, credentials: ClientCredentials):
    import tempfile

    context = ssl.create_default_context(cadata=credentials.authority_pem.decode())
    with tempfile.NamedTemporaryFile() as chain:
        chain.write(credentials.key_pem + credentials.certificate_pem)
        chain.flush()
        context.load_cert_chain(chain.name)
    context.set_alpn_protocols(["h2"])
    with (
        socket.create_connection(("localhost", server.port), timeout=10) as plain,
        context.wrap_socket(plain, server_hostname="localhost") as secure,
    ):
        yield secure
