"""JupyterLab of the lab host, as the browser of the machine outside meets it."""

from __future__ import annotations

import http.client
import json
import re
import signal
import socket
import subprocess
from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest
from people import Person
from traces import traces

from kvmlab.labhost import client


@pytest.fixture
def up(furnished: Person) -> Iterator[tuple[subprocess.Popen[bytes], str]]:
    """``./lab``, and the address that it prints."""
    process = furnished.start("up", "--no-browser", stderr=subprocess.PIPE)
    yield process, _url(process)
    if process.poll() is None:
        process.send_signal(signal.SIGINT)
    process.wait(60)
    assert process.stderr is not None
    process.stderr.close()


def _url(process: subprocess.Popen[bytes]) -> str:
    assert process.stderr is not None
    for line in process.stderr:
        if found := re.search(rb"http://\S+", line):
            return found.group().decode()
    raise AssertionError(f"no address; ./lab ended with {process.wait()}")


def get(url: str, token: str | None = None) -> tuple[int, bytes]:
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(str(parts.hostname), parts.port, timeout=60)
    headers = {"Authorization": f"token {token}"} if token else {}
    connection.request("GET", parts.path, headers=headers)
    answer = connection.getresponse()
    content = answer.read()
    connection.close()
    return answer.status, content


def test_opens_at_the_notebooks_on_loopback_with_a_token(
    up: tuple[subprocess.Popen[bytes], str],
) -> None:
    _, url = up
    parts = urlsplit(url)
    assert parts.hostname == "127.0.0.1"
    assert parts.path == "/lab/tree/notebooks"
    token = parts.query.removeprefix("token=")
    contents = f"http://127.0.0.1:{parts.port}/api/contents/notebooks"
    assert get(contents)[0] == 403
    status, body = get(contents, token)
    assert status == 200
    names = {each["name"] for each in json.loads(body)["content"]}
    assert "01_what_is_virtualization.ipynb" in names
    listening = subprocess.run(["ss", "-Htln"], capture_output=True, text=True, check=True)
    ours = {line.split()[3] for line in listening.stdout.splitlines() if f":{parts.port} " in line}
    assert ours == {f"127.0.0.1:{parts.port}"}


def test_ctrl_c_ends_everything(up: tuple[subprocess.Popen[bytes], str], furnished: Person) -> None:
    process, url = up
    watch = client.find()
    assert watch is not None
    process.send_signal(signal.SIGINT)
    assert process.wait(60) == 0
    with watch:
        watch.wait_until_over()
    assert client.find() is None
    with pytest.raises(OSError, match="refused"):
        get(url)


def test_the_second_lab_joins_and_the_first_may_go(
    up: tuple[subprocess.Popen[bytes], str], furnished: Person
) -> None:
    first, url = up
    second = furnished.start("up", "--no-browser", stderr=subprocess.PIPE)
    assert _url(second) == url
    first.send_signal(signal.SIGINT)
    first.wait(60)
    assert get(url)[0] in (200, 302)
    second.send_signal(signal.SIGKILL)
    second.wait(60)
    assert second.stderr is not None
    second.stderr.close()


def test_kill_of_the_launcher_frees_the_port(
    up: tuple[subprocess.Popen[bytes], str], furnished: Person
) -> None:
    process, url = up
    watch = client.find()
    assert watch is not None
    process.kill()
    with watch:
        watch.wait_until_over()
    port = urlsplit(url).port
    with socket.create_server(("127.0.0.1", port or 0)):
        pass
    process.wait(60)
    assert not traces(furnished.lab_home)


def test_a_taken_port_is_one_clear_error(furnished: Person) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        done = furnished.run("up", "--no-browser", "--port", port)
    assert done.returncode == 1
    assert f"(saw {port})" in done.stderr
    assert "--port" in done.stderr
    assert "Traceback" not in done.stderr
