"""The words of other languages than English: one catalogue for each, `<language>.po`.

The English text is the key of its translation (gettext's msgid). Texts are translated where they
are shown, in activities and in the workroom, and never in a workflow: histories hold the English
templates, and what a catalogue lacks is shown in English. `docs/languages.md` says how to add a
language.
"""
