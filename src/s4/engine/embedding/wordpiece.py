"""The bundled model's tokenizer: BERT's uncased WordPiece over the vocabulary in `data/`.

Equal to the `tokenizer.json` published with all-MiniLM-L6-v2 but for one thing, on purpose: a document that
contains the letters `[SEP]` or `[MASK]` is read as these letters and not as the model's control tokens.
"""

import hashlib
from importlib import resources

from tokenizers import Tokenizer
from tokenizers.models import WordPiece
from tokenizers.normalizers import BertNormalizer
from tokenizers.pre_tokenizers import BertPreTokenizer

from s4.kernel.errors import DataCorrupt

VOCABULARY_SHA256 = "07eced375cec144d27c900241f3e339478dec958f92fddbc551f295c992038a3"
CLS = 101
SEP = 102
SPECIAL_TOKENS = 2  # [CLS] before and [SEP] after


def read_vocabulary() -> bytes:
    """The vocabulary file as installed."""
    return (resources.files(__package__) / "data" / "minilm-l6-v2-vocab.txt").read_bytes()


class WordPieceTokenizer:
    """Texts to ids and offsets. Cheap calls that hold no state; safe from several threads."""

    def __init__(self, vocabulary: bytes) -> None:
        """Raises `DataCorrupt` unless `vocabulary` is the pinned one."""
        if hashlib.sha256(vocabulary).hexdigest() != VOCABULARY_SHA256:
            raise DataCorrupt("The vocabulary of the bundled embedding model is damaged: reinstall S4.")
        ids = {word: number for number, word in enumerate(vocabulary.decode().rstrip("\n").split("\n"))}
        self._tokenizer = Tokenizer(
            # A word longer than 100 is one [UNK], as in the published tokenizer.
            WordPiece(ids, unk_token="[UNK]", max_input_chars_per_word=100)  # noqa: S106 - not a password
        )
        self._tokenizer.normalizer = BertNormalizer(
            clean_text=True, handle_chinese_chars=True, strip_accents=None, lowercase=True
        )
        self._tokenizer.pre_tokenizer = BertPreTokenizer()

    def token_offsets(self, text: str) -> list[tuple[int, int]]:
        """Code point ranges, without special tokens. Several tokens may share a range (Hangul syllables)."""
        return list(self._tokenizer.encode(text, add_special_tokens=False).offsets)

    def ids(self, text: str, *, tokens_max: int) -> list[int]:
        """The model's input, with special tokens, cut to `tokens_max`."""
        body = self._tokenizer.encode(text, add_special_tokens=False).ids[: tokens_max - SPECIAL_TOKENS]
        return [CLS, *body, SEP]
