"""Formats that are text: marked up, data, code, and words in the encodings of their lands."""

import json

MARKDOWN = """---
title: Onboarding guide
---
# First day

The saffron badge opens the side door.

## Computer

| what | where |
|---|---|
| laptop | IT desk |

```sh
# no heading
```
"""
HTML = """<!DOCTYPE html>
<html><head><meta charset="utf-8"><title>Product FAQ &amp; more</title><style>p {color: red}</style>
<script>var hidden = "script words";</script></head><body>
<h1>Frequent questions</h1><p>The amber lamp means that the filter is due &amp; dirty.</p>
<h2>Prices</h2><table><tr><th>Part</th><th>Price</th></tr><tr><td>Filter</td><td>12</td></tr></table>
</body></html>
"""
CSV = 'Customer;City;Turnover\nMüller;Köln;"1.200,50"\nThe chartreuse customer;Basel;7\n'
JSON = json.dumps({"parts": [{"name": "The fuchsia fan", "stock": 7}], "größe": 3}, indent=2, ensure_ascii=False)
YAML = "controller:\n  note: the lavender relay clicks twice\n  limits: [1, 2]\n"
XML = '<?xml version="1.0"?>\n<log><entry level="warning">The maroon sensor is deaf &amp; blind.</entry></log>\n'
CODE = 'def defrost(minutes: int) -> str:\n    """The teal relay opens."""\n    return f"{minutes} min"\n'
CALENDAR = (
    "BEGIN:VCALENDAR\r\nVERSION:2.0\r\nBEGIN:VEVENT\r\nDTSTART:20260302T090000Z\r\n"
    "SUMMARY:The crimson meeting\r\nEND:VEVENT\r\nEND:VCALENDAR\r\n"
)
JAPANESE = "本日の会議は午後三時から始まります。資料は前日までに共有フォルダへ保存してください。"
CHINESE = "会议将于下午三点开始。请在前一天将资料保存到共享文件夹。"
RUSSIAN = "Совещание начнётся в три часа дня. Сохраните материалы в общей папке накануне."
GERMAN = "Die Überprüfung der Größe dauert zwei Tage; Rückfragen beantwortet Frau Müller gern."
TYPOGRAPHIC = "Preis: 300 € – „ohne Gewähr“, schließlich kommt’s auf die Größe an."

ENCODED = {
    "utf-8": GERMAN,
    "utf-8-sig": GERMAN,
    "utf-16": JAPANESE,
    "utf-16-le": GERMAN,
    "utf-16-be": GERMAN,
    "utf-16-le (Russian)": RUSSIAN,
    "utf-32": JAPANESE,
    "latin-1": GERMAN,
    "cp1252": TYPOGRAPHIC,
    "shift_jis": JAPANESE,
    "euc_jp": JAPANESE,
    "iso2022_jp": JAPANESE,
    "gb18030": CHINESE,
    "big5": "會議將於下午三點開始。請在前一天將資料儲存到共享資料夾。",
    "euc_kr": "회의는 오후 세 시에 시작합니다. 자료는 전날까지 공유 폴더에 저장해 주십시오.",
    "koi8_r": RUSSIAN,
    "cp1251": RUSSIAN,
    "cp866": RUSSIAN,
    "iso8859_5": RUSSIAN,
    "cp1250": "Schůzka začne v patnáct hodin. Příliš žluťoučký kůň úpěl ďábelské ódy.",
    "iso8859_2": "Spotkanie rozpocznie się o piętnastej. Proszę zapisać materiały dzień wcześniej.",
    "cp850": GERMAN,
    "cp1253": "Η συνάντηση αρχίζει στις τρεις το απόγευμα.",
    "cp1254": "Toplantı öğleden sonra üçte başlayacak. Lütfen dosyaları önceki gün kaydediniz.",
    "cp1256": "يبدأ الاجتماع في الساعة الثالثة بعد الظهر. يرجى حفظ المستندات في المجلد المشترك.",
    "iso8859_7": "Η συνάντηση αρχίζει στις τρεις το απόγευμα.",
    "cp1255": "הפגישה תתחיל בשעה שלוש אחר הצהריים. נא לשמור את המסמכים יום קודם לכן.",
}
"""Encodings, some said twice, and what is written in them."""


def encoded(label: str) -> bytes:
    return ENCODED[label].encode(label.partition(" ")[0])
