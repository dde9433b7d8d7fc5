"""Another machine over ssh: the code and the models are sent once, the rest goes through pipes.

Needs a POSIX shell and Python there, no sftp. Host keys must be in known_hosts; keys come from the
agent, ~/.ssh/config or ~/.ssh. The runner there ends by itself when the connection does.
"""

import asyncio
import contextlib
import hashlib
import shlex
import signal
import socket
import threading
from collections.abc import Coroutine, Sequence
from pathlib import Path
from typing import Any, TypeVar

from toolkit.devices import address, remote_scripts
from toolkit.devices.device import Device, Reply
from toolkit.devices.local import RUNNER
from toolkit.devices.travelling import archive
from toolkit.errors import DeviceError, MissingPackageError, ModelError
from toolkit.runtime.session import import_onnxruntime

_T = TypeVar("_T")
_CONNECT_S = 15
_KEEPALIVE_S = 10  # a dead connection is noticed after three of these


class SshDevice(Device):
    """Runs jobs on another machine; connects on the first use and stays connected.

    Args:
        spec: The address, see `toolkit.devices.address`.
        install: Whether numpy and onnxruntime may be installed there, in a virtual environment
            below the address' folder.

    Attributes:
        installed: Whether this session installed them.
    """

    def __init__(self, spec: str, *, install: bool = False) -> None:
        super().__init__(spec)
        self._address = address.parse(spec)
        self._install = install
        self.installed = False
        self._loop: _Loop | None = None
        self._connection: Any = None
        self._folder = self._address.quoted_folder()
        self._python = ""
        self._present: set[str] = set()
        self._sent: list[str] = []
        self._used: list[str] = []

    @property
    def folder(self) -> str:
        """Where things are kept there; with the home in it once it was connected."""
        return self._folder.strip("'")

    def close(self) -> None:
        """Close the connection; code and models stay for the next time."""
        if self._loop is not None:
            if self._connection is not None:
                self._connection.close()
                with contextlib.suppress(Exception):
                    self._loop.wait(self._connection.wait_closed())
            self._loop.stop()
        self._loop = self._connection = None

    def _place(self, models: Sequence[Path]) -> list[str]:
        self._open()
        code = archive()
        contents = {code.name: code.content}
        places = []
        for path in models:
            try:
                content = path.read_bytes()
            except OSError as error:
                raise ModelError(f"'{path}' cannot be read: {error.strerror}.") from error
            name = f"{hashlib.sha256(content).hexdigest()[:32]}{path.suffix}"
            contents[name] = content
            places.append(f"files/{name}")
        for name, content in contents.items():
            if name not in self._present:
                self._send(name, content)
        self._used = [f"files/{name}" for name in contents]
        return places

    def _exchange(self, job: bytes) -> Reply:
        command = remote_scripts.RUN.format(
            folder=self._folder,
            files=" ".join(map(shlex.quote, self._used)),
            code=shlex.quote(f"files/{archive().name}"),
            python=shlex.quote(self._python),
            runner=shlex.join(RUNNER),
        )
        return self._shell(command, job, keep_open=True)

    def _run(self, *arguments: Any) -> tuple[dict[str, Any], dict[str, Any]]:
        try:
            return super()._run(*arguments)
        except BaseException:
            self._take_back()
            raise

    def _remedy(self) -> str:
        return (
            "add --install to install it there into a virtual environment of its own, or name "
            f"another Python: {self._with_python()}"
        )

    def _with_python(self) -> str:
        return f"'{self.spec.partition('?')[0]}?python=PATH'"

    def _open(self) -> None:
        """Connect and look around, once."""
        if self._connection is not None:
            return
        self._loop = _Loop()
        self._connection = self._loop.wait(self._connect())
        lacking = self._look()
        if lacking and self._install:
            self._install_packages()
            self.installed = True
            lacking = self._look()
        if lacking:
            raise MissingPackageError(
                f"On '{self.spec}': {' and '.join(lacking)} not installed for {self._python}; "
                f"{self._remedy()}."
            )

    async def _connect(self) -> Any:
        try:
            import asyncssh
        except ImportError as error:
            raise MissingPackageError(
                "Devices over ssh need asyncssh: pip install 'toolkit[ssh]'"
            ) from error
        where, shown = self._address, self._address.shown()
        given = {"port": where.port, "username": where.user}
        options = asyncssh.SSHClientConnectionOptions(
            host=where.host,
            **{name: value for name, value in given.items() if value is not None},
            preferred_auth=("publickey",),
            login_timeout=_CONNECT_S,
            connect_timeout=_CONNECT_S,
            keepalive_interval=_KEEPALIVE_S,
        )
        port = f"-p {where.port} " if where.port else ""
        try:
            return await asyncssh.connect(where.host, options=options)
        except socket.gaierror as error:
            reason = "no such host is known. Check the name, or use its IP address"
            cause: Exception = error
        except TimeoutError as error:
            reason = f"no answer within {_CONNECT_S} s. Check that it is switched on and reachable"
            cause = error
        except OSError as error:
            refused = isinstance(error, ConnectionRefusedError)
            text = "the connection was refused" if refused else error.strerror or str(error)
            reason = f"{text.rstrip('.')}. Check that an ssh server runs there"
            cause = error
        except (asyncssh.HostKeyNotVerifiable, asyncssh.KeyExchangeFailed) as error:
            if _is_known(asyncssh, options, where.host, where.port):
                reason = (
                    "its host key is not the one in known_hosts: it was installed anew, or "
                    "somebody listens in. If you know why: ssh-keygen -R "
                    + (f"'[{where.host}]:{where.port}'" if where.port else where.host)
                )
            else:
                reason = (
                    "its host key is not in known_hosts. Connect once, and compare the "
                    f"fingerprint: ssh {port}{shown}"
                )
            cause = error
        except asyncssh.PermissionDenied as error:
            reason = (
                "it refused every key. Put yours there with ssh-copy-id, and a key with a "
                f"passphrase into the agent with ssh-add; then `ssh {port}{shown}` must not ask"
            )
            cause = error
        except asyncssh.Error as error:
            reason, cause = f"{error.reason or error}", error
        raise DeviceError(f"'{self.spec}' cannot be reached: {reason.rstrip('.')}.") from cause

    def _look(self) -> list[str]:
        """Find out what the device has; return the packages that it lacks."""
        python = self._address.python
        reply = self._shell(
            remote_scripts.LOOK.format(
                folder=self._folder,
                python=shlex.quote(python or "python3"),
                named="named" if python and not self._install else "",
            )
        )
        found: dict[str, list[str]] = {}
        for line in reply.output.decode(errors="replace").splitlines():
            key, _, value = line.partition(" ")
            found.setdefault(key, []).append(value)
        if "missing" in found or "version" not in found:
            last = (reply.messages.strip().splitlines() or [""])[-1]
            detail = f" ({last})" if last else ""
            raise DeviceError(
                f"'{self.spec}' has no Python that runs{detail}. Install it there "
                f"(apt-get install python3), or name one: {self._with_python()}."
            )
        self._folder = shlex.quote(found["folder"][0])
        self._python = found["python"][0]
        self._present = set(found.get("file", ()))
        return found.get("lacks", [])

    def _install_packages(self) -> None:
        """Make the virtual environment there; nothing is left when it fails."""
        version = import_onnxruntime().__version__
        command = remote_scripts.INSTALL.format(
            folder=self._folder,
            python=shlex.quote(self._python),
            packages=f"onnxruntime=={version} numpy",
        )
        reply = self._shell(command)
        if reply.status:
            lines = reply.messages.strip().splitlines() or ["it did not say why"]
            reason = next((line for line in lines if line.startswith("ERROR:")), lines[-1])
            raise DeviceError(
                f"On '{self.spec}', onnxruntime {version} cannot be installed: "
                f"{reason.removeprefix('ERROR: ')}. On 32-bit ARM take Debian's package: "
                "apt-get install python3-onnxruntime"
            )

    def _send(self, name: str, content: bytes) -> None:
        command = remote_scripts.SEND.format(
            folder=self._folder, name=shlex.quote(name), size=len(content)
        )
        reply = self._shell(command, content)
        if reply.status:
            last = (reply.messages.strip().splitlines() or ["it did not say why"])[-1]
            self._take_back()
            raise DeviceError(f"'{self.spec}': '{self._folder}' cannot be written: {last}")
        self._present.add(name)
        self._sent.append(name)

    def _take_back(self) -> None:
        """Remove what this session sent, after a failure."""
        if self._sent and self._connection is not None:
            command = remote_scripts.REMOVE.format(
                folder=self._folder,
                files=" ".join(shlex.quote(f"files/{name}") for name in self._sent),
            )
            with contextlib.suppress(DeviceError):
                self._shell(command)
        self._present.difference_update(self._sent)
        self._sent = []

    def _shell(self, script: str, content: bytes = b"", *, keep_open: bool = False) -> Reply:
        """Run a POSIX shell script there, whatever the login shell is."""
        assert self._loop is not None  # noqa: S101 - _open comes first
        try:
            return self._loop.wait(
                self._converse(f"sh -c {shlex.quote(script)}", content, keep_open)
            )
        except (OSError, EOFError, _connection_errors()) as error:
            self.close()
            raise DeviceError(
                f"'{self.spec}': the connection was lost ({error}); what ran there has ended. "
                "Run the command again."
            ) from error

    async def _converse(self, command: str, content: bytes, keep_open: bool) -> Reply:
        process = await self._connection.create_process(command, encoding=None)
        reading = asyncio.gather(process.stdout.read(), process.stderr.read())
        # It may refuse before it has read all; its answer then says why.
        with contextlib.suppress(BrokenPipeError):
            process.stdin.write(content)
            await process.stdin.drain()
            if not keep_open:
                process.stdin.write_eof()
        output, log = await reading
        await process.wait_closed()
        if process.exit_signal is not None:
            number = signal.Signals[f"SIG{process.exit_signal[0]}"]
            return Reply(output, log.decode(errors="replace"), -number)
        if process.exit_status is None:
            raise EOFError("it was closed from there")
        return Reply(output, log.decode(errors="replace"), process.exit_status)


class _Loop:
    """An event loop in a thread of its own, for callers that may have one themselves."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()

    def wait(self, coroutine: Coroutine[Any, Any, _T]) -> _T:
        future = asyncio.run_coroutine_threadsafe(coroutine, self._loop)
        try:
            return future.result()
        except BaseException:
            future.cancel()
            raise

    def stop(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


def _connection_errors() -> type[Exception]:
    import asyncssh

    error: type[Exception] = asyncssh.Error
    return error


def _is_known(asyncssh: Any, options: Any, host: str, port: int | None) -> bool:
    """Tell whether known_hosts has a key of a host."""
    files = options.known_hosts or [str(Path("~/.ssh/known_hosts").expanduser())]
    try:
        keys = asyncssh.read_known_hosts(files).match(
            options.host or host, "", options.port or port
        )
    except (OSError, ValueError):
        return False
    return bool(keys[0])
