# ruff: noqa: PTH101, PTH102, PTH104, PTH115, PTH116, PTH211 - operations are the system's own calls
"""A file server's share, in small: a directory that is shown at another place by way of FUSE.

Stopped with SIGSTOP, its server is one that does not answer: whoever touches a file waits. Nothing
is cached, so that this concerns all that touches one. Needs root, and no library.

python tests/faults/share.py <directory> <mount point>
"""

from __future__ import annotations

import ctypes
import errno
import os
import shutil
import signal
import stat
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

READY_SECONDS = 10.0


def missing() -> str:
    """Why there can be no share on this machine; empty: there can."""
    if os.geteuid() != 0:
        return "a share that hangs needs root"
    return "" if Path("/dev/fuse").exists() else "there is no /dev/fuse"


class Share:
    """A directory shown at a mount point, from the start until `close`."""

    def __init__(self, directory: Path, mount_point: Path) -> None:
        self._command = [sys.executable, __file__, str(directory), str(mount_point)]
        self._mount_point = mount_point
        self._server: subprocess.Popen[bytes] | None = None
        self.start()

    def start(self) -> None:
        """Mount it, and wait until it answers."""
        # Its standard input ends with this process, and it with that.
        self._server = subprocess.Popen(self._command, stdin=subprocess.PIPE)
        deadline = time.monotonic() + READY_SECONDS
        while not os.path.ismount(self._mount_point):
            assert self._server.poll() is None, "the share's server has ended"
            assert time.monotonic() < deadline, "the share is not there"
            time.sleep(0.01)

    def hang(self) -> None:
        """Answer nobody any more."""
        if self._server:
            self._server.send_signal(signal.SIGSTOP)

    def answer(self) -> None:
        """Answer again, also who has asked meanwhile."""
        if self._server:
            self._server.send_signal(signal.SIGCONT)

    def stop(self) -> None:
        """Take it down; who waits for it gets an error."""
        server, self._server = self._server, None
        if server is None:
            return
        umount = shutil.which("umount") or "/usr/bin/umount"
        subprocess.run([umount, "--lazy", str(self._mount_point)], check=False)
        server.kill()
        server.communicate()

    close = stop


# -- the server, in a process of its own ---------------------------------------------------------

_IN, _OUT = struct.Struct("<IIQQIIIHH"), struct.Struct("<IiQ")
_ATTR = struct.Struct("<QQQQQQIIIIIIIIII")
_BUFFER = 2**20
_MAX_WRITE = 2**17
_SET_MODE, _SET_OWNER, _SET_GROUP, _SET_SIZE = 1, 2, 4, 8
_SET_ATIME, _SET_MTIME, _SET_OPEN_FILE, _SET_ATIME_NOW, _SET_MTIME_NOW = 16, 32, 64, 128, 256
_INTERRUPT = 36


def _attributes(found: os.stat_result) -> bytes:
    times = found.st_atime_ns, found.st_mtime_ns, found.st_ctime_ns
    return _ATTR.pack(
        *(found.st_ino, found.st_size, found.st_blocks),
        *(ns // 10**9 for ns in times),
        *(ns % 10**9 for ns in times),
        *(found.st_mode, found.st_nlink, found.st_uid, found.st_gid),
        *(found.st_rdev & 0xFFFFFFFF, found.st_blksize, 0),
    )


def _names(data: bytes, count: int) -> list[str]:
    return [os.fsdecode(name) for name in data.split(b"\0")[:count]]


class _Server:
    """Answers the kernel's requests. A node's number stands for a path, from the root."""

    def __init__(self, directory: str) -> None:
        self._root = directory
        self._paths = {1: ""}
        self._numbers = {"": 1}
        self._removed: dict[int, int] = {}  # what may be open still: descriptors
        self._listings: dict[int, list[tuple[str, int, int]]] = {}
        self._without_answer: dict[int, Callable[[int, bytes], None]] = {
            2: lambda node, _: self._forget(node),
            _INTERRUPT: lambda _node, _data: None,
            42: self._forget_many,
        }
        self._operations: dict[int, Callable[[int, bytes], bytes]] = {
            1: lambda node, data: self._entry(self._child(node, _names(data, 1)[0])),
            3: lambda node, _: self._attr_out(self._stat(node)),
            4: self._set_attributes,
            5: lambda node, _: os.fsencode(os.readlink(self._real(node))),
            6: self._make_link,
            8: self._make_node,
            9: self._make_directory,
            10: lambda node, data: self._remove(os.unlink, node, data),
            11: lambda node, data: self._remove(os.rmdir, node, data),
            12: lambda node, data: self._rename(node, data, 8),
            13: self._link,
            14: lambda node, data: self._opened(
                os.open(self._real(node), _flags(struct.unpack_from("<I", data)[0]))
            ),
            15: self._read,
            16: self._write,
            17: self._statfs,
            18: lambda _, data: self._without(os.close, *struct.unpack_from("<Q", data)),
            20: lambda _, data: self._without(os.fsync, *struct.unpack_from("<Q", data)),
            25: lambda _node, _data: b"",  # FLUSH
            26: self._begin,
            27: self._open_directory,
            28: self._read_directory,
            29: self._release_directory,
            30: lambda node, _: self._sync_directory(node),
            34: lambda _node, _data: b"",  # ACCESS
            35: self._create,
            38: lambda _node, _data: b"",  # DESTROY
            45: lambda node, data: self._rename(node, data, 16),
        }

    def serve(self, device: int) -> None:
        while True:
            try:
                request = os.read(device, _BUFFER)
            except OSError as error:
                if error.errno in (errno.EINTR, errno.ENOENT, errno.EAGAIN):
                    continue
                if error.errno == errno.ENODEV:  # it was taken down
                    return
                raise
            _, operation, unique, node, *_ = _IN.unpack_from(request)
            if operation in self._without_answer:
                self._without_answer[operation](node, request[_IN.size :])
                continue
            code, answer = 0, b""
            try:
                perform = self._operations.get(operation)
                if perform is None:
                    code = errno.ENOSYS
                else:
                    answer = perform(node, request[_IN.size :])
            except OSError as error:
                code = error.errno or errno.EIO
            try:
                os.write(device, _OUT.pack(_OUT.size + len(answer), -code, unique) + answer)
            except OSError as error:
                if error.errno != errno.ENOENT:  # who asked has been killed
                    raise

    # -- paths -------------------------------------------------------------------------------

    def _real(self, node: int) -> str:
        removed = self._removed.get(node)
        return self._root + self._paths[node] if removed is None else f"/proc/self/fd/{removed}"

    def _stat(self, node: int) -> os.stat_result:
        removed = self._removed.get(node)
        return os.lstat(self._real(node)) if removed is None else os.fstat(removed)

    def _let_go(self, path: str) -> None:
        """Another file of that name will be another; this one may be open still."""
        number = self._numbers.pop(path, None)
        if number is not None:
            self._removed[number] = os.open(self._root + path, os.O_PATH | os.O_NOFOLLOW)

    def _forget(self, node: int) -> None:
        """The kernel does not know of it any more."""
        removed = self._removed.pop(node, None)
        if removed is not None:
            os.close(removed)

    def _forget_many(self, _: int, data: bytes) -> None:
        (count,) = struct.unpack_from("<I", data)
        for number in range(count):
            self._forget(struct.unpack_from("<Q", data, 8 + 16 * number)[0])

    def _child(self, node: int, name: str) -> str:
        return f"{self._paths[node]}/{name}"

    def _named(self, node: int, data: bytes) -> str:
        return self._root + self._child(node, _names(data, 1)[0])

    def _entry(self, path: str) -> bytes:
        found = os.lstat(self._root + path)
        number = self._numbers.setdefault(path, len(self._paths) + 1)
        self._paths[number] = path
        return struct.pack("<QQQQII", number, 0, 0, 0, 0, 0) + _attributes(found)

    @staticmethod
    def _attr_out(found: os.stat_result) -> bytes:
        return struct.pack("<QII", 0, 0, 0) + _attributes(found)

    @staticmethod
    def _without(perform: Callable[..., object], *arguments: object) -> bytes:
        perform(*arguments)
        return b""

    @staticmethod
    def _opened(descriptor: int) -> bytes:
        return struct.pack("<QIi", descriptor, 0, 0)

    # -- operations --------------------------------------------------------------------------

    def _begin(self, _: int, data: bytes) -> bytes:
        major, _, ahead = struct.unpack_from("<III", data)
        flags = 1 << 3 | 1 << 5  # O_TRUNC comes with an open; large writes
        given = struct.pack("<IIIIHHIIHHI", major, 31, ahead, flags, 12, 9, _MAX_WRITE, 1, 0, 0, 0)
        return given.ljust(64, b"\0")

    def _set_attributes(self, node: int, data: bytes) -> bytes:
        (
            valid,
            _,
            descriptor,
            size,
            _,
            atime,
            mtime,
            _,
            atime_ns,
            mtime_ns,
            _,
            mode,
            _,
            owner,
            group,
            _,
        ) = struct.unpack_from("<IIQQQQQQIIIIIIII", data)
        path: str | int = descriptor if valid & _SET_OPEN_FILE else self._real(node)
        if valid & _SET_MODE:
            os.chmod(path, stat.S_IMODE(mode))
        if valid & (_SET_OWNER | _SET_GROUP):
            unchanged = -1
            os.chown(
                path,
                owner if valid & _SET_OWNER else unchanged,
                group if valid & _SET_GROUP else unchanged,
            )
        if valid & _SET_SIZE:
            os.truncate(path, size)
        if valid & (_SET_ATIME | _SET_MTIME):
            now, found = time.time_ns(), os.stat(path)
            times = [found.st_atime_ns, found.st_mtime_ns]
            if valid & _SET_ATIME:
                times[0] = now if valid & _SET_ATIME_NOW else atime * 10**9 + atime_ns
            if valid & _SET_MTIME:
                times[1] = now if valid & _SET_MTIME_NOW else mtime * 10**9 + mtime_ns
            os.utime(path, ns=(times[0], times[1]))
        return self._attr_out(os.stat(path))

    def _make_link(self, node: int, data: bytes) -> bytes:
        name, target = _names(data, 2)
        os.symlink(target, self._root + self._child(node, name))
        return self._entry(self._child(node, name))

    def _make_node(self, node: int, data: bytes) -> bytes:
        mode, device, _, _ = struct.unpack_from("<IIII", data)
        os.mknod(self._named(node, data[16:]), mode, device)
        return self._entry(self._child(node, _names(data[16:], 1)[0]))

    def _make_directory(self, node: int, data: bytes) -> bytes:
        os.mkdir(self._named(node, data[8:]), struct.unpack_from("<I", data)[0])
        return self._entry(self._child(node, _names(data[8:], 1)[0]))

    def _rename(self, node: int, data: bytes, size: int) -> bytes:
        (target,) = struct.unpack_from("<Q", data)
        if size == 16 and struct.unpack_from("<I", data, 8)[0]:
            raise OSError(errno.EINVAL, "renameat2 with flags")
        old, new = _names(data[size:], 2)
        before, after = self._child(node, old), self._child(target, new)
        if os.path.lexists(self._root + after):
            self._let_go(after)
        os.rename(self._root + before, self._root + after)
        for path, number in list(self._numbers.items()):
            if path == before or path.startswith(f"{before}/"):
                moved = after + path[len(before) :]
                del self._numbers[path]
                self._numbers[moved] = number
                self._paths[number] = moved
        return b""

    def _remove(self, perform: Callable[[str], None], node: int, data: bytes) -> bytes:
        path = self._child(node, _names(data, 1)[0])
        self._let_go(path)
        perform(self._root + path)
        return b""

    def _link(self, node: int, data: bytes) -> bytes:
        (old,) = struct.unpack_from("<Q", data)
        os.link(self._real(old), self._named(node, data[8:]))
        return self._entry(self._child(node, _names(data[8:], 1)[0]))

    def _read(self, _: int, data: bytes) -> bytes:
        descriptor, offset, size = struct.unpack_from("<QQI", data)
        return os.pread(descriptor, size, offset)

    def _write(self, _: int, data: bytes) -> bytes:
        descriptor, offset, size = struct.unpack_from("<QQI", data)
        return struct.pack("<II", os.pwrite(descriptor, data[40 : 40 + size], offset), 0)

    def _statfs(self, _node: int, _data: bytes) -> bytes:
        found = os.statvfs(self._root)
        numbers = found.f_blocks, found.f_bfree, found.f_bavail, found.f_files, found.f_ffree
        return struct.pack(
            "<QQQQQIIII24x", *numbers, found.f_bsize, found.f_namemax, found.f_frsize, 0
        )

    def _open_directory(self, node: int, _: bytes) -> bytes:
        found = [(".", node, stat.S_IFDIR), ("..", 1, stat.S_IFDIR)]
        with os.scandir(self._real(node)) as entries:
            for one in entries:
                found.append((one.name, one.inode(), one.stat(follow_symlinks=False).st_mode))
        descriptor = os.open(self._real(node), os.O_RDONLY)
        self._listings[descriptor] = found
        return self._opened(descriptor)

    def _read_directory(self, _: int, data: bytes) -> bytes:
        descriptor, offset, size = struct.unpack_from("<QQI", data)
        answer = b""
        for number, (name, inode, mode) in enumerate(self._listings[descriptor][offset:], offset):
            text = os.fsencode(name)
            entry = struct.pack("<QQII", inode, number + 1, len(text), stat.S_IFMT(mode) >> 12)
            entry += text.ljust((len(text) + 7) // 8 * 8, b"\0")
            if len(answer) + len(entry) > size:
                break
            answer += entry
        return answer

    def _release_directory(self, _: int, data: bytes) -> bytes:
        (descriptor,) = struct.unpack_from("<Q", data)
        del self._listings[descriptor]
        os.close(descriptor)
        return b""

    def _sync_directory(self, node: int) -> bytes:
        descriptor = os.open(self._real(node), os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        return b""

    def _create(self, node: int, data: bytes) -> bytes:
        flags, mode, _, _ = struct.unpack_from("<IIII", data)
        path = self._child(node, _names(data[16:], 1)[0])
        descriptor = os.open(self._root + path, flags | os.O_CREAT | os.O_CLOEXEC, mode)
        return self._entry(path) + self._opened(descriptor)


def _flags(flags: int) -> int:
    return flags & ~(os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW) | os.O_CLOEXEC


def _end_with_parent(library: ctypes.CDLL, mount_point: str) -> None:
    """Take the share down when the standard input ends; stopped, it is woken for that."""
    pr_set_pdeathsig, mnt_detach = 1, 2
    library.prctl(pr_set_pdeathsig, signal.SIGCONT)

    def follow() -> None:
        os.read(0, 1)
        library.umount2(os.fsencode(mount_point), mnt_detach)
        os._exit(1)

    threading.Thread(target=follow, daemon=True).start()


def main() -> None:
    directory, mount_point = sys.argv[1:]
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.umask(0)
    device = os.open("/dev/fuse", os.O_RDWR | os.O_CLOEXEC)
    options = f"fd={device},rootmode=40755,user_id=0,group_id=0,allow_other"
    library = ctypes.CDLL(None, use_errno=True)
    nosuid_nodev = 2 | 4
    if library.mount(b"share", os.fsencode(mount_point), b"fuse", nosuid_nodev, options.encode()):
        number = ctypes.get_errno()
        raise OSError(number, f"mount {mount_point}: {os.strerror(number)}")
    _end_with_parent(library, mount_point)
    _Server(directory).serve(device)


if __name__ == "__main__":
    main()
