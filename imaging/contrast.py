"""Whether contrast medium was given: by the words of the series, then by the header."""

from enum import StrEnum

from imaging.header import InstanceHeader
from imaging.words import joined, says, without

GIVEN, NOT_GIVEN, UNKNOWN = "given", "not given", "unknown"


class Contrast(StrEnum):
    """What a model asks about contrast medium."""

    ANY = "any"  # it makes no difference
    YES = "yes"  # it must have been given
    NO = "no"  # it must not have been given


_NOT_GIVEN = """
    w/o, w/o contrast, without, without contrast, without iv contrast, wo, wo contrast,
    no contrast, non contrast, noncontrast, non con, noncon, unenhanced, non enhanced,
    pre, pre contrast, precontrast, plain, native, nativ, ohne km, ohne kontrast*, o. km, okm,
    vor km, sans injection, sans contraste, sans iv, sans pdc, sans produit de contraste,
    non injecté, sin contraste, s/c, simple, senza mdc, senza contrasto,
    senza mezzo di contrasto, sem contraste, zonder contrast, blanco, без контраст*, без ку,
    бесконтраст*, нативн*, 平扫, 非增强, 无增强, 未增强, 単純, 非造影, 造影なし, 造影前
"""
_GIVEN = """
    w/, w contrast, with contrast, contrast, contrast enhanced, enhanced, post contrast,
    post, postcontrast, post gad, post gd, postgad, gad, gado, gadolinium, gd, ce, cect, ce mra, c+,
    iv+, +c, +iv, +gd, +km, +mdc, arterial phase, arterial, portal venous, portovenous,
    venous phase, delayed phase, mit km, nach km, km, km iv, km i.v., kontrastmittel, kontrast*,
    mit kontrast*, arteriell, portalvenös, avec injection, avec iv, avec pdc,
    injecté, injection, apres injection,
    après injection, gadolinio, con contraste, con cdc, contraste, civ, con mdc, mdc,
    con mezzo di contrasto, com contraste, met contrast, с контраст*, контраст*, с ку, болюс*,
    增强, 增強, 对比增强, 动脉期, 静脉期, 门脉期, 延迟期, 造影, 動脈相, 門脈相, 平衡相
"""
# Phases that only contrast medium shows in CT; in MR they may mean vessels by themselves.
_GIVEN_CT = """
    cta, ctpa, ctv, angio, portal, venous, delayed, late phase, nephrographic, excretory, art phase,
    arterielle, portale, veineux, veineuse, tardif, tardive, venös, spätphase, arteriosa, venosa,
    nefrográfica, excretora, артериальн*, венозн*, отсрочен*
"""
# Before and after something else than contrast medium.
_OTHERWISE = """
    post op, post operative, post operation, post surgery, post treatment, post therapy, post rt,
    post processing, post processed, post biopsy, post ictal, post trauma, post traumatic,
    post void, post fossa, post nasal, post elements, pre op,
    pre operative, pre treatment, pre surgery
"""
_NO_AGENT = """
    none, no, n, nil, 0, nein, kein, keine, non, aucun, ninguno, nessuno, nenhum, geen, нет, 无,
    無, なし
"""


def contrast(header: InstanceHeader) -> str:
    """Return whether contrast medium was given: ``GIVEN``, ``NOT_GIVEN`` or ``UNKNOWN``.

    A series says what it is; the agent in the header is often that of the whole examination. The
    agent is required when one was used (PS3.3 C.7.6.4), so without any word or agent none was.
    """
    said = without(joined((header.series.description, header.series.protocol)), _OTHERWISE)
    without_it = says(said, _NOT_GIVEN)
    given = f"{_GIVEN}, {_GIVEN_CT}" if header.series.modality == "CT" else _GIVEN
    with_it = says(without(said, _NOT_GIVEN), given)
    if without_it != with_it:
        return NOT_GIVEN if without_it else GIVEN
    if agent_given(header):
        return GIVEN
    return UNKNOWN if with_it else NOT_GIVEN


def agent_given(header: InstanceHeader) -> bool:
    """Whether the header names a contrast agent."""
    agent = header.acquisition.contrast_agent.strip()
    said = bool(agent) and without(agent, _NO_AGENT).strip(" .-") != ""
    return said or header.acquisition.technique.contrast_coded
