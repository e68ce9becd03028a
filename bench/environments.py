"""Virtual environments of their own for programs that ours are measured beside: their pins may clash with ours."""

import shutil
import subprocess
import sys
from pathlib import Path

from core.settings import settings


def environment(name: str, *packages: str) -> Path:
    """Return the folder of an environment under `var/` that holds the packages; made when first asked for.

    Raises CalledProcessError when they cannot be installed; what pip said went to the terminal.
    """
    home = settings().var / name
    ready, wanted = home / "ready", "\n".join(packages)
    if not ready.exists() or ready.read_text(encoding="utf-8") != wanted:
        shutil.rmtree(home, ignore_errors=True)
        if uv := shutil.which("uv"):
            subprocess.run([uv, "venv", "--quiet", "--python", sys.executable, str(home)], check=True)
            install = [uv, "pip", "install", "--quiet", "--python", str(home / "bin" / "python")]
        else:
            subprocess.run([sys.executable, "-m", "venv", str(home)], check=True)
            install = [str(home / "bin" / "python"), "-m", "pip", "install", "--quiet"]
        subprocess.run([*install, *packages], check=True)
        ready.write_text(wanted, encoding="utf-8")
    return home
