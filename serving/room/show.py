"""How names, dates, times and durations look on pages."""

from datetime import datetime

from serving.room.language import Words

_MINUTE, _HOUR, _DAY = 60, 3600, 86400
_DATE_LENGTH, _SHORT = 8, 10


def viewer_address(study_uid: str, series_uid: str = "") -> str:
    """Return where the full viewer shows a study, a series of it first if one is given."""
    first = f"&initialSeriesInstanceUID={series_uid}" if series_uid else ""
    return f"/viewer/viewer?StudyInstanceUIDs={study_uid}{first}"


def person(name: str) -> str:
    """Return a DICOM person name as people write it: ``Doe^Jane=`` is ``Doe, Jane``.

    The ideographic form, where there is one, comes first (PS3.5 6.2.1).
    """
    forms = [_spelt(form) for form in name.split("=")]
    forms = [*forms[1:2], *forms[:1]]
    return " · ".join(form for form in forms if form)


def _spelt(form: str) -> str:
    family, *given = (part.strip() for part in form.split("^"))
    rest = " ".join(part for part in given if part)
    return ", ".join(part for part in (family, rest) if part)


def date(text: str) -> str:
    """Return ``20260131`` as ``2026-01-31``, anything else as it is."""
    digits = text.strip()
    if len(digits) != _DATE_LENGTH or not digits.isdecimal():
        return text
    return f"{digits[:4]}-{digits[4:6]}-{digits[6:]}"


def clock(moment: float) -> str:
    """Return Unix seconds as local date and time, to the minute."""
    return datetime.fromtimestamp(moment).astimezone().strftime("%Y-%m-%d %H:%M")


def duration(seconds: float, words: Words) -> str:
    """Return a duration in the two units that matter."""
    seconds = max(seconds, 0.0)
    if seconds < _MINUTE:
        return words("{s} s", s=round(seconds) if seconds >= _SHORT else f"{seconds:.1f}")
    if seconds < _HOUR:
        return words("{m} min", m=int(seconds // _MINUTE))
    if seconds < _DAY:
        whole = int(seconds)
        return words("{h} h {m} min", h=whole // _HOUR, m=whole % _HOUR // _MINUTE)
    whole = int(seconds)
    return words("{d} d {h} h", d=whole // _DAY, h=whole % _DAY // _HOUR)


def age(birth_date: str, study_date: str, words: Words) -> str:
    """Return the age in years at the study, nothing where a date is missing."""
    if not all(len(d) == _DATE_LENGTH and d.isdecimal() for d in (birth_date, study_date)):
        return ""
    years = int(study_date[:4]) - int(birth_date[:4]) - (study_date[4:] < birth_date[4:])
    return words("{n} y", n=years)
