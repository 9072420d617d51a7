"""The one image of the tests, made of the machine's own busybox: no registry is asked."""

import io
import subprocess
import tarfile
from pathlib import Path

NAME = "ovsnet-test:1"

# Serves its own host name, so that a client learns which container has answered.
SERVE = "mkdir -p /www && hostname >/www/index.html && exec httpd -f -p 80 -h /www"


def archive(busybox: Path = Path("/bin/busybox")) -> bytes:
    """Return a tar archive of a root directory with busybox and all that it can be called."""
    listed = subprocess.run([busybox, "--list"], capture_output=True, check=True, text=True)
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for folder in ("bin", "etc", "proc", "sys", "tmp", "www"):
            entry = tarfile.TarInfo(folder)
            entry.type = tarfile.DIRTYPE
            entry.mode = 0o1777 if folder == "tmp" else 0o755
            tar.addfile(entry)
        program = tarfile.TarInfo("bin/busybox")
        program.mode = 0o755
        program.size = busybox.stat().st_size
        with busybox.open("rb") as content:
            tar.addfile(program, content)
        for applet in listed.stdout.split():
            if applet != "busybox":
                link = tarfile.TarInfo(f"bin/{applet}")
                link.type = tarfile.SYMTYPE
                link.linkname = "busybox"
                tar.addfile(link)
    return buffer.getvalue()
