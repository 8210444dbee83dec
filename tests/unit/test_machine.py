"""Processors and memory, read from files in the kernel's formats."""

from collections.abc import Mapping
from pathlib import Path

import pytest

from s4.kernel.units import GIB, MIB
from s4.platform.machine import Machine, read_machine

UNLIMITED_V1 = "9223372036854771712"  # what the kernel writes into memory.limit_in_bytes when there is no limit


def seen(folder: Path, groups: str, mounts: str, files: Mapping[str, str], *, affinity: int = 8) -> Machine:
    """On a machine of 64 GiB. `{}` in `mounts` stands for the folder that `files` are in."""
    proc = folder / "proc"
    proc.mkdir()
    (proc / "cgroup").write_text(groups)
    (proc / "mountinfo").write_text(mounts.replace("{}", str(folder)))
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(content + "\n")
    return read_machine(proc=proc, affinity=affinity, physical_bytes=64 * GIB)


V2_MOUNT = "30 23 0:26 / {}/cgroup rw,nosuid shared:9 - cgroup2 cgroup2 rw,nsdelegate\n"
V1_MOUNTS = """\
31 23 0:28 / {} rw,relatime - tmpfs tmpfs rw,mode=755
33 31 0:30 / {}/cpu,cpuacct rw,relatime shared:4 - cgroup cgroup rw,cpu,cpuacct
35 31 0:32 / {}/memory rw,relatime shared:5 - cgroup cgroup rw,memory
"""


def test_the_limits_of_a_group_of_version_two_count(tmp_path: Path) -> None:
    found = seen(
        tmp_path,
        "0::/system.slice/s4.service\n",
        V2_MOUNT,
        {
            "cgroup/system.slice/s4.service/cpu.max": "150000 100000",
            "cgroup/system.slice/s4.service/memory.max": str(3 * GIB),
            "cgroup/system.slice/s4.service/memory.high": "max",
        },
    )
    assert (found.processors, found.threads, found.memory_bytes) == (1.5, 2, 3 * GIB)
    assert found.processors_by.endswith("system.slice/s4.service/cpu.max")
    assert found.memory_by.endswith("system.slice/s4.service/memory.max")


def test_where_memory_is_slowed_down_before_it_is_refused_the_lower_mark_counts(tmp_path: Path) -> None:
    files = {"cgroup/a/memory.max": str(3 * GIB), "cgroup/a/memory.high": str(2 * GIB)}
    assert seen(tmp_path, "0::/a\n", V2_MOUNT, files).memory_bytes == 2 * GIB


def test_the_limits_of_a_group_of_version_one_count(tmp_path: Path) -> None:
    found = seen(
        tmp_path,
        "12:memory:/batch/s4\n4:cpu,cpuacct:/batch/s4\n1:name=systemd:/\n",
        V1_MOUNTS,
        {
            "cpu,cpuacct/batch/s4/cpu.cfs_quota_us": "50000",
            "cpu,cpuacct/batch/s4/cpu.cfs_period_us": "100000",
            "memory/batch/s4/memory.limit_in_bytes": str(512 * MIB),
        },
    )
    assert (found.processors, found.threads, found.memory_bytes) == (0.5, 1, 512 * MIB)


@pytest.mark.parametrize(
    ("groups", "mounts", "tree"), [("0::/pod/container\n", V2_MOUNT, "cgroup"), ("", V1_MOUNTS, "memory")]
)
def test_the_least_of_nested_limits_counts(groups: str, mounts: str, tree: str, tmp_path: Path) -> None:
    name = "memory.max" if groups else "memory.limit_in_bytes"
    found = seen(
        tmp_path,
        groups or "12:memory:/pod/container\n",
        mounts,
        {f"{tree}/pod/container/{name}": str(8 * GIB), f"{tree}/pod/{name}": str(2 * GIB)},
    )
    assert found.memory_bytes == 2 * GIB


def test_without_limits_the_machine_and_its_affinity_count(tmp_path: Path) -> None:
    two = seen(
        tmp_path,
        "4:memory:/\n1:cpu,cpuacct:/\n0::/\n",
        V1_MOUNTS + V2_MOUNT,
        {
            "cpu,cpuacct/cpu.cfs_quota_us": "-1",
            "cpu,cpuacct/cpu.cfs_period_us": "100000",
            "memory/memory.limit_in_bytes": UNLIMITED_V1,
            "cgroup/cpu.max": "max 100000",
            "cgroup/memory.max": "max",
        },
        affinity=2,
    )
    assert (two.processors, two.threads, two.memory_bytes) == (2.0, 2, 64 * GIB)
    assert two.memory_by == "the machine's memory"


def test_a_quota_above_the_affinity_gives_no_more_threads(tmp_path: Path) -> None:
    assert seen(tmp_path, "0::/a\n", V2_MOUNT, {"cgroup/a/cpu.max": "800000 100000"}, affinity=3).threads == 3


def test_in_a_container_that_names_its_group_as_the_host_does_the_limit_is_found(tmp_path: Path) -> None:
    """Docker with version one: the host's path in /proc, and the mount shows what is below that."""
    mounts = "35 31 0:32 /docker/4711 {}/memory ro,relatime - cgroup cgroup rw,memory\n"
    files = {"memory/memory.limit_in_bytes": str(GIB)}
    assert seen(tmp_path, "12:memory:/docker/4711\n", mounts, files).memory_bytes == GIB


@pytest.mark.parametrize(
    ("root", "path"),
    [("/docker/4711", "/../../other"), ("/docker/4711", "/docker/47110"), ("/docker/4711", "/"), ("/", "/../other")],
)
def test_a_group_that_lies_outside_the_mount_is_read_at_its_top(root: str, path: str, tmp_path: Path) -> None:
    mounts = f"35 31 0:32 {root} {{}}/memory ro,relatime - cgroup cgroup rw,memory\n"
    files = {"memory/memory.limit_in_bytes": str(GIB)}
    assert seen(tmp_path, f"12:memory:{path}\n", mounts, files).memory_bytes == GIB


def test_a_mount_with_a_blank_in_its_name_is_found(tmp_path: Path) -> None:
    mounts = "30 23 0:26 / {}/my\\040groups rw - cgroup2 cgroup2 rw\n"
    assert seen(tmp_path, "0::/a\n", mounts, {"my groups/a/memory.max": str(GIB)}).memory_bytes == GIB


@pytest.mark.parametrize("strange", ["", "many", "-5 100000", "0 100000", "100000 0", "1 2 3"])
def test_what_cannot_be_read_is_no_limit(strange: str, tmp_path: Path) -> None:
    files = {"cgroup/a/cpu.max": strange, "cgroup/a/memory.max": strange}
    found = seen(tmp_path, "0::/a\nnonsense\n", "nonsense\n" + V2_MOUNT, files)
    assert (found.threads, found.memory_bytes) == (8, 64 * GIB)


def test_where_there_is_no_proc_the_machine_counts(tmp_path: Path) -> None:
    found = read_machine(proc=tmp_path / "none", affinity=4, physical_bytes=GIB)
    assert (found.threads, found.memory_bytes) == (4, GIB)
