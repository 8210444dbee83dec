"""What was used, read from files in the kernel's formats; and of this very process, from the kernel."""

import os
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from pathlib import Path

import pytest

from s4.platform import resources
from s4.platform.resources import Group, Network, Used

LINUX = pytest.mark.skipif(sys.platform != "linux", reason="there is no /proc")
V2_MOUNT = "30 23 0:26 / {}/cgroup rw,nosuid shared:9 - cgroup2 cgroup2 rw,nsdelegate\n"
V1_MOUNTS = """\
33 31 0:30 / {}/cpu,cpuacct rw,relatime shared:4 - cgroup cgroup rw,cpu,cpuacct
34 31 0:31 / {}/blkio rw,relatime shared:5 - cgroup cgroup rw,blkio
35 31 0:32 / {}/memory rw,relatime shared:6 - cgroup cgroup rw,memory
"""


def written(folder: Path, files: Mapping[str, str]) -> Path:
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(content.replace("{}", str(folder)))
    return folder / "proc"


def test_a_group_of_version_two_is_read(tmp_path: Path) -> None:
    group = "cgroup/kubepods/s4"
    proc = written(
        tmp_path,
        {
            "proc/cgroup": "0::/kubepods/s4\n",
            "proc/mountinfo": V2_MOUNT,
            f"{group}/cpu.stat": "usage_usec 2500000\nuser_usec 2000000\nnr_throttled 3\nthrottled_usec 1500000\n",
            f"{group}/memory.current": "1000000\n",
            f"{group}/memory.stat": "anon 700000\ninactive_file 200000\n",
            f"{group}/memory.events": "low 0\noom 2\noom_kill 1\n",
            f"{group}/io.stat": "8:0 rbytes=4096 wbytes=8192 rios=1 wios=2\n8:16 rbytes=4 wbytes=8 rios=1 wios=1\n",
        },
    )
    assert resources.read_group(proc=proc) == Group(2.5, 1.5, 1_000_000, 800_000, 1, 4100, 8200)


def test_a_group_of_version_one_is_read(tmp_path: Path) -> None:
    proc = written(
        tmp_path,
        {
            "proc/cgroup": "4:memory:/s4\n3:blkio:/s4\n2:cpu,cpuacct:/s4\n",
            "proc/mountinfo": V1_MOUNTS,
            "cpu,cpuacct/s4/cpuacct.usage": "2500000000\n",
            "cpu,cpuacct/s4/cpu.stat": "nr_periods 5\nnr_throttled 3\nthrottled_time 1500000000\n",
            "memory/s4/memory.usage_in_bytes": "1000000\n",
            "memory/s4/memory.stat": "inactive_file 1\ntotal_inactive_file 200000\n",
            "memory/s4/memory.oom_control": "oom_kill_disable 0\nunder_oom 0\noom_kill 1\n",
            "blkio/s4/blkio.throttle.io_service_bytes": "8:0 Read 4096\n8:0 Write 8192\n8:0 Total 12288\nTotal 12288\n",
        },
    )
    assert resources.read_group(proc=proc) == Group(2.5, 1.5, 1_000_000, 800_000, 1, 4096, 8192)


def test_where_there_is_no_group_nothing_is_made_up(tmp_path: Path) -> None:
    assert resources.read_group(proc=tmp_path) == Group()
    assert resources.read_network(proc=tmp_path) is None
    assert resources.used_by(1, proc=tmp_path) is None
    assert resources.read_disk(tmp_path / "nowhere") is None


def test_the_network_is_that_of_all_interfaces_but_loopback(tmp_path: Path) -> None:
    zeros = "0 " * 4
    (tmp_path / "net").mkdir()
    (tmp_path / "net" / "dev").write_text(
        "Inter-|   Receive | Transmit\n face |bytes …\n"
        f"    lo: 900 9 0 0 {zeros} 900 9 0 0 {zeros}\n"
        f"  eth0: 100 1 2 3 {zeros} 200 2 4 5 {zeros}\n"
        f"  eth1: 10 1 0 1 {zeros} 20 2 1 0 {zeros}\n"
    )
    assert resources.read_network(proc=tmp_path) == Network(110, 220, 6, 10)


def test_a_process_whose_name_is_strange_is_read(tmp_path: Path) -> None:
    fields = ["S", "1", *["0"] * 9, "250", "50", *["0"] * 4, "7", "0", "0", "0", "3"]
    proc = written(tmp_path, {"proc/42/stat": "42 (a) b) " + " ".join(fields), "proc/42/io": "read_bytes: 5\n"})
    ticks, page = os.sysconf("SC_CLK_TCK"), os.sysconf("SC_PAGE_SIZE")
    assert resources.used_by(42, proc=proc) == Used(300 / ticks, 3 * page, 7, 5, 0)


@LINUX
def test_this_process_and_its_children_are_read_from_the_kernel() -> None:
    before = resources.used_by_ended_children()
    spin = (
        "import time; t = time.process_time()\nwhile time.process_time() - t < 0.3: pass\nprint(1, flush=True); input()"
    )
    with subprocess.Popen([sys.executable, "-c", spin], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        child.stdout.readline()
        living = resources.used_by_all([child.pid, 2**22 + 1])
        assert living.cpu_seconds >= 0.3 - 0.02
        assert living.memory_bytes > 1_000_000
    ended = resources.used_by_ended_children()
    assert ended.cpu_seconds - before.cpu_seconds >= living.cpu_seconds - 0.02, "nothing is lost when it ends"
    myself = resources.used_by_self()
    assert myself is not None
    assert myself.cpu_seconds == pytest.approx(time.process_time(), rel=0.05, abs=0.05)
    assert myself.threads == threading.active_count() or myself.threads >= len(threading.enumerate())


@LINUX
def test_the_time_of_some_threads_is_told_apart() -> None:
    ready, done = threading.Event(), threading.Event()
    ids: set[int] = set()

    def spin() -> None:
        ids.add(threading.get_native_id())
        until = time.thread_time() + 0.2
        while time.thread_time() < until:
            pass
        ready.set()
        done.wait()

    thread = threading.Thread(target=spin)
    thread.start()
    ready.wait()
    assert ids <= resources.thread_ids()
    assert resources.thread_cpu_seconds(ids) == pytest.approx(0.2, abs=0.05)
    done.set()
    thread.join()
    while ids & resources.thread_ids():  # the kernel takes a thread off its list some moments after it is joined
        pass
    assert resources.thread_cpu_seconds(ids) == 0.0
