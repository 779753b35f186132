"""Service accounts, kubeconfigs and tokens; TLS against a real server."""

from __future__ import annotations

import base64
import ssl
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from cluster.client import ApiClient
from cluster.credentials import Access, StaticToken, TokenFile, in_cluster_access
from cluster.errors import CredentialsError, UnreachableError
from cluster.kubeconfig import kubeconfig_access, kubeconfig_paths
from cluster.objects import ConfigMap
from tests.unit.cluster.scripted import Answer, Request, ScriptedServer

ENVIRON = {"KUBERNETES_SERVICE_HOST": "198.19.0.1", "KUBERNETES_SERVICE_PORT": "6443"}


class Certificate:
    """A self-signed certificate that serves as its own CA."""

    def __init__(self, directory: Path, name: str, host: str = "127.0.0.1") -> None:
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        now = datetime.now(UTC)
        names: list[x509.GeneralName] = [x509.DNSName(name)]
        if host:
            names.append(x509.IPAddress(ip_address(host)))
        certificate = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(subject)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(hours=1))
            .not_valid_after(now + timedelta(hours=1))
            .add_extension(x509.SubjectAlternativeName(names), critical=False)
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .sign(key, hashes.SHA256())
        )
        self.pem = certificate.public_bytes(serialization.Encoding.PEM)
        self.key_pem = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        self.file, self.key_file = directory / f"{name}.crt", directory / f"{name}.key"
        self.file.write_bytes(self.pem)
        self.key_file.write_bytes(self.key_pem)

    def server_context(self, client_ca: Certificate | None = None) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.file, self.key_file)
        if client_ca:
            context.load_verify_locations(client_ca.file)
            context.verify_mode = ssl.CERT_REQUIRED
        return context


@pytest.fixture
def service_account(tmp_path: Path) -> Path:
    certificate = Certificate(tmp_path, "kubernetes")
    (tmp_path / "ca.crt").write_bytes(certificate.pem)
    (tmp_path / "token").write_text("t0ken")
    (tmp_path / "namespace").write_text("metallb-system\n")
    return tmp_path


def kubeconfig(
    path: Path, server: str, cluster: str = "", user: str = "token: t0ken", context: str = ""
) -> Path:
    path.write_text(
        f"""
apiVersion: v1
kind: Config
current-context: lab
clusters: [{{name: c, cluster: {{server: "{server}", {cluster}}}}}]
users: [{{name: u, user: {{{user}}}}}]
contexts: [{{name: lab, context: {{cluster: c, user: u, {context}}}}}]
"""
    )
    return path


async def greet(request: Request, answer: Answer) -> None:
    await answer.json({"metadata": {"name": "hello"}})


async def greeting(access: Access) -> str:
    async with ApiClient(access) as client:
        return (await client.get("/x", ConfigMap)).metadata.name


def test_in_cluster(service_account: Path) -> None:
    access = in_cluster_access(ENVIRON, service_account)
    assert access.server == "https://198.19.0.1:6443"
    assert access.namespace == "metallb-system"
    assert access.token is not None
    assert access.token.current() == "t0ken"
    access = in_cluster_access({**ENVIRON, "KUBERNETES_SERVICE_HOST": "2001:2::1"}, service_account)
    assert access.server == "https://[2001:2::1]:6443"


@pytest.mark.parametrize(
    ("missing", "text"),
    [
        ("token", "token: cannot be read: No such file"),
        ("namespace", "namespace: cannot be read: No such file"),
        ("ca.crt", "ca.crt: no usable CA"),
    ],
)
def test_incomplete_service_account(service_account: Path, missing: str, text: str) -> None:
    (service_account / missing).unlink()
    with pytest.raises(CredentialsError, match=text):
        in_cluster_access(ENVIRON, service_account)


def test_outside_a_pod() -> None:
    with pytest.raises(CredentialsError, match="does not run in a pod"):
        in_cluster_access({}, Path("/nonexistent"))


def test_bad_files_are_named(service_account: Path) -> None:
    (service_account / "ca.crt").write_text("no certificate")
    with pytest.raises(CredentialsError, match=r"ca\.crt: no usable CA"):
        in_cluster_access(ENVIRON, service_account)
    (service_account / "namespace").write_text(" \n")
    with pytest.raises(CredentialsError, match="namespace: is empty"):
        in_cluster_access(ENVIRON, service_account)


@pytest.mark.parametrize("text", ["", " \n", "two words", "a\nb", "ä", "a\x00b"])
def test_token_that_no_header_can_carry(tmp_path: Path, text: str) -> None:
    (tmp_path / "token").write_text(text)
    with pytest.raises(CredentialsError, match="one token of printable ASCII"):
        TokenFile(tmp_path / "token").current()
    with pytest.raises(CredentialsError, match="test: must be one token"):
        StaticToken(text, "test")


def test_broken_token_file_leaves_the_last_token(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("one")
    token = TokenFile(file)
    assert token.current() == "one"
    file.write_text("two words")
    assert token.current() == "one"
    assert token.refresh() is False
    file.write_text("three")
    assert token.refresh() is True
    assert token.current() == "three"


async def test_only_the_given_ca_is_trusted(service_account: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    server_certificate = Certificate(other, "server")
    async with ScriptedServer(greet, server_certificate.server_context()) as server:
        environ = {"KUBERNETES_SERVICE_HOST": "127.0.0.1", "KUBERNETES_SERVICE_PORT": str(server.port)}
        with pytest.raises(UnreachableError, match="CERTIFICATE_VERIFY_FAILED"):
            await greeting(in_cluster_access(environ, service_account))
        (service_account / "ca.crt").write_bytes(server_certificate.pem)
        assert await greeting(in_cluster_access(environ, service_account)) == "hello"
        assert server.requests[0].headers["authorization"] == "Bearer t0ken"


async def test_client_certificate_from_data_and_from_files(tmp_path: Path) -> None:
    server_certificate, me = Certificate(tmp_path, "server"), Certificate(tmp_path, "me")

    def data(pem: bytes) -> str:
        return base64.b64encode(pem).decode()

    async with ScriptedServer(greet, server_certificate.server_context(client_ca=me)) as server:
        inline = kubeconfig(
            tmp_path / "inline",
            server.url,
            f"certificate-authority-data: {data(server_certificate.pem)}",
            f"client-certificate-data: {data(me.pem)}, client-key-data: {data(me.key_pem)}",
            "namespace: here",
        )
        access = kubeconfig_access([inline])
        assert access.namespace == "here"
        assert access.token is None
        assert await greeting(access) == "hello"
        # Names in a kubeconfig are relative to its directory.
        files = kubeconfig(
            tmp_path / "files",
            server.url,
            "certificate-authority: server.crt",
            "client-certificate: me.crt, client-key: me.key",
        )
        assert await greeting(kubeconfig_access([files])) == "hello"
        bare = kubeconfig(tmp_path / "bare", server.url, "certificate-authority: server.crt")
        with pytest.raises(UnreachableError):
            await greeting(kubeconfig_access([bare]))


async def test_server_name_and_skipped_verification(tmp_path: Path) -> None:
    certificate = Certificate(tmp_path, "kubernetes", host="")
    ca = "certificate-authority: kubernetes.crt"
    async with ScriptedServer(greet, certificate.server_context()) as server:
        plain = kubeconfig(tmp_path / "plain", server.url, ca)
        with pytest.raises(UnreachableError, match="CERTIFICATE_VERIFY_FAILED"):
            await greeting(kubeconfig_access([plain]))
        named = kubeconfig(tmp_path / "named", server.url, f"{ca}, tls-server-name: kubernetes")
        assert await greeting(kubeconfig_access([named])) == "hello"
        blind = kubeconfig(tmp_path / "blind", server.url, "insecure-skip-tls-verify: true")
        assert await greeting(kubeconfig_access([blind])) == "hello"


async def test_plain_http_and_token_file(tmp_path: Path) -> None:
    (tmp_path / "tok").write_text("from-file")
    async with ScriptedServer(greet) as server:
        file = kubeconfig(tmp_path / "config", server.url + "/", user="token: ignored, tokenFile: tok")
        assert await greeting(kubeconfig_access([file])) == "hello"
        assert server.requests[0].headers["authorization"] == "Bearer from-file"
        assert server.requests[0].path == "/x"


def test_contexts_and_several_files(tmp_path: Path) -> None:
    one = kubeconfig(tmp_path / "one", "http://198.19.0.1")
    two = tmp_path / "two"
    two.write_text(
        """
current-context: other
clusters: [{name: c, cluster: {server: "http://unused"}}, {name: d, cluster: {server: "http://198.19.0.2"}}]
contexts: [{name: other, context: {cluster: d, user: u}}]
"""
    )
    assert kubeconfig_access([one, two]).server == "http://198.19.0.1"
    assert kubeconfig_access([two, one]).server == "http://198.19.0.2"
    assert kubeconfig_access([one, two], "other").server == "http://198.19.0.2"
    assert kubeconfig_access([tmp_path / "absent", one]).server == "http://198.19.0.1"


def test_paths() -> None:
    assert kubeconfig_paths("/a", {"KUBECONFIG": "/b"}) == (Path("/a"),)
    assert kubeconfig_paths(None, {"KUBECONFIG": "/b::/c"}) == (Path("/b"), Path("/c"))
    assert kubeconfig_paths(None, {"HOME": "/home/me"}) == (Path("/home/me/.kube/config"),)


BAD = {
    "no context": ("clusters: []", "current-context is not set"),
    "context": ("current-context: x", "context 'x' is not defined"),
    "cluster": (
        "current-context: x\ncontexts: [{name: x, context: {cluster: c}}]",
        "cluster 'c' is not defined",
    ),
    "user": (
        "current-context: x\ncontexts: [{name: x, context: {cluster: c, user: u}}]\n"
        "clusters: [{name: c, cluster: {server: 'http://a'}}]",
        "user 'u' is not defined",
    ),
    "server": (
        "current-context: x\ncontexts: [{name: x, context: {cluster: c}}]\nclusters: [{name: c, cluster: {server: a}}]",
        "server must be an http or https URL, is 'a'",
    ),
    "ca": (
        "current-context: x\ncontexts: [{name: x, context: {cluster: c}}]\n"
        "clusters: [{name: c, cluster: {server: 'https://a', certificate-authority-data: '!'}}]",
        "certificate-authority-data: must be base64",
    ),
    "shape": ("[1]", "is not a kubeconfig"),
    "type": ("clusters: 3", r"is not a kubeconfig: Expected `array \| null`, got `int` - at `\$.clusters`"),
    "yaml": ("a: b: c", "is not YAML"),
    "bytes": ("\x00", "is not YAML"),
}


@pytest.mark.parametrize(("text", "problem"), BAD.values(), ids=BAD.keys())
def test_bad_kubeconfig_is_one_clear_line(tmp_path: Path, text: str, problem: str) -> None:
    file = tmp_path / "config"
    file.write_text(text)
    with pytest.raises(CredentialsError, match=problem) as caught:
        kubeconfig_access([file])
    assert "\n" not in str(caught.value)
    assert str(file) in str(caught.value)


def test_absent_kubeconfig(tmp_path: Path) -> None:
    with pytest.raises(CredentialsError, match="absent: cannot be read: No such file"):
        kubeconfig_access([tmp_path / "absent"])


async def test_login_by_program(tmp_path: Path) -> None:
    """The official client runs the program; it may log in anew when the server refuses the token."""
    program = tmp_path / "login"
    counter = tmp_path / "count"
    program.write_text(
        f"""#!/bin/sh
echo x >> {counter}
echo '{{"apiVersion":"client.authentication.k8s.io/v1","kind":"ExecCredential","status":{{"token":"t'$(wc -l < {counter})'"}}}}'
"""
    )
    program.chmod(0o755)

    async def handler(request: Request, answer: Answer) -> None:
        if request.headers["authorization"] == "Bearer t1":
            await answer.status(401, "Unauthorized")
        else:
            await greet(request, answer)

    async with ScriptedServer(handler) as server:
        user = f"exec: {{apiVersion: client.authentication.k8s.io/v1, command: {program}, interactiveMode: Never}}"
        file = kubeconfig(tmp_path / "config", server.url, user=user)
        assert await greeting(kubeconfig_access([file])) == "hello"
        assert [request.headers["authorization"] for request in server.requests] == ["Bearer t1", "Bearer t2"]


def test_login_by_program_that_fails(tmp_path: Path) -> None:
    user = "exec: {apiVersion: client.authentication.k8s.io/v1, command: /nonexistent/login, interactiveMode: Never}"
    file = kubeconfig(tmp_path / "config", "http://127.0.0.1:1", user=user)
    with pytest.raises(CredentialsError, match="context 'lab': the login gave neither token nor certificate"):
        kubeconfig_access([file])
