"""The process, and what the machine and its control group give it. Read at each scrape by `telemetry/collector.py`."""

from prometheus_client import Gauge

from s4.platform.telemetry.metrics.buckets import Read

# -- process
BUILD_INFO = Gauge(
    "s4_build_info",
    "Constant 1; the running version is the label. Two versions for longer than a rolling restart: finish it.",
    ["version"],
)
READY = Gauge(
    "s4_ready",
    "1 while this process takes requests or jobs, 0 while it starts or drains. 0 for minutes: its log says what it "
    "waits for.",
)
PROCESS_CPU_SECONDS = Read(
    "s4_process_cpu_seconds_total",
    "Processor time of this process (`self`, all its threads) and of its extraction children (`extraction`, those that "
    "have ended too). Its rate near `s4_cpu_limit_cores`: add replicas of an API, or workers.",
    ("part",),
)
PROCESS_MEMORY_BYTES = Read(
    "s4_process_resident_memory_bytes",
    "Memory of this process, and of its extraction children that live. Near `s4_memory_limit_bytes` in all: lower "
    "`S4_WORKER_CONCURRENCY` or the caches, or give more. Pages that several share count for each.",
    ("part",),
)
PROCESS_THREADS = Read(
    "s4_process_threads",
    "Threads of this process, and of its extraction children that live. Growing without end is a defect: report it.",
    ("part",),
)
PROCESS_DISK_BYTES = Read(
    "s4_process_disk_bytes_total",
    "Bytes that this process and its extraction children (those that have ended too) made the disks `read` and "
    "`written`; what the page cache answered is not in it. High beside slow stages: give it a faster disk.",
    ("part", "direction"),
)
EXTRACTION_PROCESSES = Read(
    "s4_extraction_processes",
    "Extraction children that live, as Linux sees them. 0 while files wait: `extraction` in the log says why.",
)
EMBEDDING_CPU_SECONDS = Read(
    "s4_embedding_cpu_seconds_total",
    "Processor time of the local model's threads, which is in `s4_process_cpu_seconds_total` as well. Most of it: the "
    "model is what limits this process; add workers, or use a provider.",
)

# -- machine
CPU_LIMIT_CORES = Read(
    "s4_cpu_limit_cores",
    "Processors that this process may use: the control group's quota, or what the affinity mask leaves. Compare with "
    "the rate of `s4_process_cpu_seconds_total` and `s4_cgroup_cpu_seconds_total`.",
)
MEMORY_LIMIT_BYTES = Read(
    "s4_memory_limit_bytes",
    "Memory that the control group allows, else the machine's. Compare with `s4_cgroup_memory_bytes`.",
)
CGROUP_CPU_SECONDS = Read(
    "s4_cgroup_cpu_seconds_total",
    "Processor time of the control group, everything in its container. Its rate near `s4_cpu_limit_cores`: raise the "
    "limit or add replicas.",
)
CGROUP_THROTTLED_SECONDS = Read(
    "s4_cgroup_cpu_throttled_seconds_total",
    "Time that the control group was stopped because its quota was used up. Rising: latency has this cause; raise the "
    "CPU limit.",
)
CGROUP_MEMORY_BYTES = Read(
    "s4_cgroup_memory_bytes",
    "Memory that counts against the control group's limit: `used`, all of it, and `working_set`, without file pages "
    "that can be dropped. `working_set` near `s4_memory_limit_bytes`: raise the limit before the kernel kills.",
    ("kind",),
)
CGROUP_OOM_KILLS = Read(
    "s4_cgroup_oom_kills_total",
    "Processes that the kernel killed because the control group's memory was used up. Any: raise the limit, or lower "
    "`S4_MEMORY_BYTES` so that S4 reckons with less.",
)
CGROUP_DISK_BYTES = Read(
    "s4_cgroup_disk_bytes_total",
    "Bytes that the control group made the disks `read` and `written`. Compare with what the volume is sold for.",
    ("direction",),
)
DISK_SIZE_BYTES = Read(
    "s4_disk_size_bytes",
    "Size of the file system of a folder: `data` (S4_DATA_DIR), `temporary`; `objects` and `backups` where a directory "
    "on another disk holds them. The limit of `s4_disk_free_bytes`.",
    ("folder",),
)
DISK_FREE_BYTES = Read(
    "s4_disk_free_bytes",
    "What is free of it for this process. Below a tenth: enlarge the disk, or lower `S4_INDEX_COPIES_BYTES`. "
    "Below `S4_DISK_FLOOR_BYTES` the process is not ready.",
    ("folder",),
)
NETWORK_BYTES = Read(
    "s4_network_bytes_total",
    "Bytes over the network interfaces, loopback excepted, of this process's network namespace: the container's, or "
    "without one the whole machine's, all its processes. Near what the machine is sold for: add machines.",
    ("direction",),
)
NETWORK_ERRORS = Read(
    "s4_network_errors_total",
    "Packets with errors or dropped, over the same interfaces. Rising: look at the machine's network before S4.",
    ("direction",),
)
