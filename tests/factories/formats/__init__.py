"""One file of each format that S4 reads, made here, and what a reader must find in it."""

from dataclasses import dataclass

from tests.factories.files import zipped
from tests.factories.formats import archives, mails, office, pdfs, texts

_OOXML = "application/vnd.openxmlformats-officedocument."
_ODF = "application/vnd.oasis.opendocument."


@dataclass(frozen=True)
class Sample:
    """`says` stands in no other sample. `told_by_bytes`: neither the name nor the declared type is needed."""

    name: str
    data: bytes
    content_type: str
    says: str
    headings: tuple[tuple[int, str], ...] = ()
    pages: int = 0
    title: str | None = None
    told_by_bytes: bool = True


def samples() -> list[Sample]:
    """Made anew at every call: some take a tenth of a second."""
    plain = "A note without a form: the beige cupboard is locked.\n"
    return [
        Sample(
            "manual.pdf",
            pdfs.manual(),
            "application/pdf",
            "Only a turquoise isolator may be opened by hand",
            (
                (1, "Service manual"),
                (1, "Safety"),
                (2, "Electrical safety"),
                (1, "Maintenance"),
                (1, "Repair"),
            ),
            pages=3,
            title="Manual of the FH-800",
        ),
        Sample("parts.pdf", pdfs.table(), "application/pdf", "Vermilion gasket", ((1, "Spare parts"),), pages=1),
        Sample(
            "journal.pdf",
            pdfs.two_columns(),
            "application/pdf",
            "Journal of cochineal pumps",
            ((1, "Journal of cochineal pumps"), *((2, f"Section {number}") for number in range(1, 9))),
            pages=2,
        ),
        Sample(
            "travel.docx",
            office.word(),
            f"{_OOXML}wordprocessingml.document",
            "Mauve receipts are reimbursed within ten working days.",
            ((1, "Travel policy"), (2, "Hotels & flights"), (1, "Approval")),
            title="Travel policy 2026",
        ),
        Sample(
            "training.pptx",
            office.slides(),
            f"{_OOXML}presentationml.presentation",
            "Tell the anecdote of the ochre heat pump.",
            ((1, "Sales training"), (1, "Figures")),
            pages=3,
        ),
        Sample(
            "prices.xlsx",
            office.workbook(),
            f"{_OOXML}spreadsheetml.sheet",
            "| FH-1 | Cerulean valve | 19.5 | 2026-01-31 |",
            ((2, "Prices"), (2, "Stock")),
        ),
        Sample(
            "hoses.xls",
            office.old_workbook(),
            "application/vnd.ms-excel",
            "| SH-2 | Größe 7 | 1200 |",
            ((2, "Hoses"), (2, "Shelf")),
        ),
        Sample(
            "incident.odt",
            office.open_text(),
            f"{_ODF}text",
            "The magenta compressor stopped at noon & was restarted.",
            ((1, "Incident report"), (2, "Causes")),
        ),
        Sample(
            "journey.epub",
            office.book(),
            "application/epub+zip",
            "The indigo train arrives at seven.",
            ((1, "Arrival"), (2, "Later"), (1, "Departure"), (2, "Later")),
            title="The long journey",
        ),
        Sample(
            "contract.rtf",
            office.rich_text(),
            "application/rtf",
            "Die viridiangrüne Pumpe kostet 300 € – ohne Gewähr.",
            ((1, "Lieferung"),),
            title="Supply contract",
        ),
        Sample(
            "faq.html",
            texts.HTML.encode(),
            "text/html",
            "The amber lamp means that the filter is due & dirty.",
            ((1, "Frequent questions"), (2, "Prices")),
            title="Product FAQ & more",
        ),
        Sample("parts.json", texts.JSON.encode(), "application/json", "The fuchsia fan"),
        Sample("log.xml", texts.XML.encode(), "application/xml", "The maroon sensor is deaf"),
        Sample("invite.ics", texts.CALENDAR.encode(), "text/calendar", "The crimson meeting"),
        Sample(
            "planning.eml",
            mails.letter().as_bytes(),
            "message/rfc822",
            "The periwinkle agenda is attached.",
            title="Quarterly planning",
        ),
        Sample(
            "onboarding.md",
            texts.MARKDOWN.encode(),
            "text/markdown",
            "The saffron badge opens the side door.",
            ((1, "First day"), (2, "Computer")),
            title="Onboarding guide",
            told_by_bytes=False,
        ),
        Sample(
            "customers.csv",
            texts.CSV.encode("cp1252"),
            "text/csv",
            "| The chartreuse customer | Basel | 7 |",
            told_by_bytes=False,
        ),
        Sample(
            "settings.yaml", texts.YAML.encode(), "application/yaml", "the lavender relay clicks", told_by_bytes=False
        ),
        Sample("defrost.py", texts.CODE.encode(), "text/x-python", "The teal relay opens.", told_by_bytes=False),
        Sample("note.txt", plain.encode("utf-16"), "text/plain", "the beige cupboard is locked"),
        Sample(
            "offer.zip",
            zipped({"offer/terms.txt": b"Payment in thirty days, says the sepia page.", "readme.txt": b"Two files."}),
            "application/zip",
            "Payment in thirty days, says the sepia page.",
            ((1, "offer/terms.txt"), (1, "readme.txt")),
        ),
        Sample(
            "backup.tar",
            archives.tarred({"etc/pump.conf": b"speed = 7 # never above the burgundy mark"}),
            "application/x-tar",
            "never above the burgundy mark",
            ((1, "etc/pump.conf"),),
        ),
        *(
            Sample(
                f"backup.tar.{suffix}",
                pack(archives.tarred({f"{suffix}.txt": f"packed by {suffix}, in a lime crate".encode()})),
                content_type,
                f"packed by {suffix}, in a lime crate",
                ((1, f"{suffix}.txt"),),
            )
            for suffix, pack, content_type in _PACKED
        ),
        *(
            Sample(
                f"single.txt.{suffix}",
                pack(f"alone in {suffix}, and azure".encode()),
                content_type,
                f"alone in {suffix}",
            )
            for suffix, pack, content_type in _PACKED
        ),
    ]


_PACKED = [
    (suffix, archives.PACKERS[suffix], content_type)
    for suffix, content_type in (
        ("gz", "application/gzip"),
        ("bz2", "application/x-bzip2"),
        ("xz", "application/x-xz"),
    )
]
