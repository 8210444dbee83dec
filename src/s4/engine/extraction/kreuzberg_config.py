"""How kreuzberg is called: what costs and is not needed (caches, detection of languages, post-processing) is off."""

import kreuzberg


def configuration(
    *, plain: bool = False, pages: kreuzberg.PageConfig | None = None, ocr: kreuzberg.OcrConfig | None = None
) -> kreuzberg.ExtractionConfig:
    """`plain` text, or Markdown. With `ocr`, text in images is recognised."""
    return kreuzberg.ExtractionConfig(
        use_cache=False,
        enable_quality_processing=False,
        output_format="plain" if plain else "markdown",
        pages=pages,
        postprocessor=kreuzberg.PostProcessorConfig(enabled=False),
        concurrency=kreuzberg.ConcurrencyConfig(max_threads=1),
        force_ocr=ocr is not None,
        ocr=ocr,
    )
