"""The overview: is S4 up, is it well, what do its processes take."""

from deploy.monitoring.dashboards.model import RATE, Board, Choice, Row, figure, graph, listing, or_zero, rate

_HERE = 'instance=~"$instance"'

_NOW = Row(
    "Now",
    (
        figure("Alerts firing", "Each has a page in docs/runbooks.", or_zero('count(ALERTS{alertstate="firing"})')),
        figure(
            "API processes ready",
            "Fewer than you run: see `S4NotReady`.",
            'sum(s4_ready{process="api"})',
        ),
        figure(
            "Workers ready",
            "0: uploads are taken and are not found.",
            or_zero('sum(s4_ready{process="worker"})'),
        ),
        figure("Requests", "Of all routes, in all processes.", rate("s4_http_requests_total"), unit="reqps"),
        figure(
            "Failed requests",
            "Answered 5xx. See the board of the API.",
            "s4:http_errors:ratio_5m",
            unit="percentunit",
        ),
        figure(
            "Oldest waiting job",
            "Minutes: add workers.",
            "max(s4_queue_oldest_ready_seconds)",
            unit="s",
        ),
    ),
)
_PROCESSES = Row(
    "Processor, memory, disk, network",
    (
        graph(
            "Processor",
            "Of what a process may use. At 80 %: more replicas of the API, or more workers.",
            {"{{job}} {{instance}}": f"instance:s4_cpu:ratio_5m{{{_HERE}}}"},
            unit="percentunit",
        ),
        graph(
            "Processor by part",
            "`extraction`: children that read files.",
            {
                "{{instance}} {{process}} {{part}}": f"sum by (instance, process, part) "
                f"(rate(s4_process_cpu_seconds_total{{{_HERE}}}[{RATE}]))",
            },
        ),
        graph(
            "Stopped for the quota",
            "Seconds a second in which the control group had used its processors up. Raise the limit.",
            {
                "{{instance}}": or_zero(
                    f"max by (instance) (rate(s4_cgroup_cpu_throttled_seconds_total{{{_HERE}}}[{RATE}]))"
                )
            },
        ),
        graph(
            "Memory",
            "Of what a process may use. At 90 %: raise the limit before the kernel kills.",
            {"{{job}} {{instance}}": f"instance:s4_memory:ratio{{{_HERE}}}"},
            unit="percentunit",
        ),
        graph(
            "Memory by part",
            "Growing for days without end is a defect.",
            {
                "{{instance}} {{process}} {{part}}": f"sum by (instance, process, part) "
                f"(s4_process_resident_memory_bytes{{{_HERE}}})"
            },
            unit="bytes",
        ),
        graph(
            "Killed for memory",
            "Any: raise the limit, or lower S4_MEMORY_BYTES.",
            {"{{instance}}": or_zero(f"max by (instance) (increase(s4_cgroup_oom_kills_total{{{_HERE}}}[1h]))")},
        ),
        graph(
            "Disk free",
            "Of the file system of each folder. Below 15 %: enlarge it, or lower S4_INDEX_COPIES_BYTES.",
            {"{{instance}} {{folder}}": f"instance:s4_disk_free:ratio{{{_HERE}}}"},
            unit="percentunit",
        ),
        graph(
            "Disk traffic",
            "High beside slow stages: a faster disk.",
            {
                "{{instance}} {{direction}}": f"sum by (instance, direction) "
                f"(rate(s4_process_disk_bytes_total{{{_HERE}}}[{RATE}]))"
            },
            unit="Bps",
        ),
        graph(
            "Network traffic",
            "Of the network namespace: the container's, or the whole machine's.",
            {
                "{{instance}} {{direction}}": f"max by (instance, direction) "
                f"(rate(s4_network_bytes_total{{{_HERE}}}[{RATE}]))"
            },
            unit="Bps",
        ),
        graph(
            "Threads",
            "Growing without end is a defect.",
            {"{{instance}} {{process}} {{part}}": f"sum by (instance, process, part) (s4_process_threads{{{_HERE}}})"},
        ),
        graph(
            "Extraction children",
            "0 while files wait: look for `extraction` in the log.",
            {"{{instance}}": f"sum by (instance) (s4_extraction_processes{{{_HERE}}})"},
        ),
        graph(
            "Network errors",
            "Packets a second with errors, or dropped.",
            {
                "{{instance}} {{direction}}": f"max by (instance, direction) "
                f"(rate(s4_network_errors_total{{{_HERE}}}[{RATE}]))"
            },
        ),
    ),
)
_SCRAPES = Row(
    "What Prometheus sees",
    (
        listing("Processes", "0 does not answer.", 'up{job=~"s4-.+"}'),
        listing("Releases", "Two for hours: a rolling upgrade was not finished.", "count by (version) (s4_build_info)"),
        graph(
            "Series of a scrape",
            "At most some 2,000 of API and worker, however many tenants there are.",
            {"{{job}} {{instance}}": 'scrape_samples_scraped{job=~"s4-.+"}'},
            span=12,
        ),
        graph(
            "Time of a scrape",
            "Seconds: the catalog is slow to answer, or the process has no processor left.",
            {"{{job}} {{instance}}": 'scrape_duration_seconds{job=~"s4-.+"}'},
            unit="s",
            span=12,
        ),
    ),
)

BOARD = Board(
    "s4-system",
    "S4: overview",
    "Is S4 up, is it well, and what do its processes take of their machines.",
    (_NOW, _PROCESSES, _SCRAPES),
    (Choice("instance", "Process", 'label_values(up{job=~"s4-.+"}, instance)', all=True),),
)
