# SPDX-License-Identifier: BSD-2-Clause
"""What the result pages say about machine, day and program, and the running of commands."""
import datetime
import os
import platform
import shutil
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent


def run(*command, **kw):
    """Run a command, return its standard output; on failure say which one and why."""
    command = [str(c) for c in command]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **kw)
    if done.returncode:
        sys.exit(f"{' '.join(command)}: exit status {done.returncode}: {done.stderr.strip()[-300:]}")
    return done.stdout


def find_tessera(given):
    """The program: the one given, that of a build tree beside these scripts, or the installed one."""
    for p in (given, HERE.parent / "build" / "tessera", HERE.parent / "tessera", shutil.which("tessera")):
        if p and shutil.which(p):
            return str(shutil.which(p))
    sys.exit("no program 'tessera' found: build it, or name it with --tessera")


def own_python(tool, venv, check, requirements, *how):
    """Goes on in a virtual environment with the packages of a requirements file, if this interpreter lacks them."""
    if subprocess.run([sys.executable, "-c", check], stderr=subprocess.DEVNULL).returncode == 0:
        return
    python = venv / "bin" / "python"
    if Path(sys.executable) == python:
        sys.exit(f"{tool}: {venv} is broken: remove it")
    if not python.exists():
        run(sys.executable, "-m", "venv", venv)
    run(python, "-m", "pip", "install", "--quiet", *how, "-r", HERE / requirements)
    os.execv(python, [str(python), *sys.argv])


def cpu():
    names = [line.split(":")[1].strip() for line in open("/proc/cpuinfo") if line.startswith("model name")]
    return f"{names[0] if names else platform.machine()}, {len(os.sched_getaffinity(0))} logical processors"


def system():
    try:
        return platform.freedesktop_os_release()["PRETTY_NAME"]
    except (OSError, KeyError, AttributeError):
        return platform.platform()


def commit():
    done = subprocess.run(["git", "-C", str(HERE), "describe", "--always", "--dirty"], stdout=subprocess.PIPE,
                          stderr=subprocess.DEVNULL, text=True)
    return done.stdout.strip() or "no git"


def model_line(tessera, name):
    """Name, size and hash of a model, as the program lists it; of a model file only its name."""
    if Path(name).is_file():
        return Path(name).name
    for line in run(tessera, "models").splitlines()[1:]:
        if line.startswith(name + " "):
            return " ".join(line.split())
    sys.exit(f"the model '{name}' is not installed: see 'tessera models path'")


def facts(tessera, command, *models):
    """Lines of the head of a result page."""
    load = " ".join(f"{x:.1f}" for x in os.getloadavg())
    return [f"- Machine: {cpu()}; {system()}; load average at the end {load}",
            f"- Date: {datetime.datetime.now().astimezone():%Y-%m-%d %H:%M %Z}; commit {commit()}",
            f"- Command: `{command}`",
            f"- Program: {run(tessera, '--version').splitlines()[0]}; model (name, codec, MB, hash, licence): "
            + "; ".join(model_line(tessera, m) for m in models or ("photo",))]


def today():
    return datetime.date.today().isoformat()


def table(head, rows):
    """A Markdown table; the first column is text, the others are numbers."""
    cells = [[str(c) for c in row] for row in [head] + rows]
    width = [max(len(row[i]) for row in cells) for i in range(len(head))]
    line = ["| " + " | ".join(c.ljust(w) if i == 0 else c.rjust(w) for i, (c, w) in enumerate(zip(row, width))) + " |"
            for row in cells]
    rule = "| " + " | ".join("-" * w if i == 0 else "-" * (w - 1) + ":" for i, w in enumerate(width)) + " |"
    return "\n".join([line[0], rule] + line[1:])
