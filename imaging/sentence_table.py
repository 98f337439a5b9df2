"""The table of every reason: code, English sentence, Chinese sentence, without a full stop.

Fields are Python format fields: ``{positions_mm:.2f}``. A tuple of numbers is a list, of which the
first six are shown; a tuple of texts is a choice ("HEAD or CHEST"). Both sentences of a code have
the same fields. What operators, models and other programs say is not translated; the usual terms
of radiology are (`imaging.terms_zh`).
"""

from imaging import sentences_images, sentences_work

SENTENCES = sentences_images.SENTENCES | sentences_work.SENTENCES
