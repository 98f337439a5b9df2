"""What an MR series shows, by what the scanner did: timing, pulse sequence, encoding.

A name is what someone typed; TR and TE are what was measured. Words only tell apart what has the
same timing, and fill in where timing is absent. Times are milliseconds.
"""

from imaging.header import Acquisition, InstanceHeader
from imaging.words import joined, says

T1, T2, PD, FLAIR, STIR = "T1", "T2", "PD", "FLAIR", "STIR"
DWI, ADC, SWI, T2_STAR, TOF, PERFUSION = "DWI", "ADC", "SWI", "T2*", "TOF", "PERFUSION"
OTHER, UNKNOWN = "OTHER", "unknown"
SPIN_ECHO, GRADIENT_ECHO = "spin echo", "gradient echo"
WEIGHTINGS = (T1, T2, PD, FLAIR, STIR, DWI, ADC, SWI, T2_STAR, TOF, PERFUSION, OTHER)
DIMENSIONS, ECHOES = ("2D", "3D"), (SPIN_ECHO, GRADIENT_ECHO)

_SHORT_TR, _SHORT_TE, _LONG_TE = 1200.0, 30.0, 60.0
# T1 is emphasized up to here, fluid nulled above; fat is nulled at 80 to 300 ms.
_LONG_TI, _FAT_TI = 1400.0, (80.0, 300.0)
# Gradient echoes: signal decays with T2* in tens of milliseconds, a T1 spoiled echo is sampled at
# once; flip angles below the Ernst angle of tissue leave proton density.
_T2_STAR_TE, _DIFFUSION_TE, _SMALL_FLIP_DEG, _LONG_GRADIENT_TR = 12.0, 40.0, 6.0, 100.0
_STEADY_FLIP_DEG, _STEADY_TR = 35.0, 12.0

# Acquisition Contrast (PS3.3 C.8.13.3.1.1).
_CONTRASTS = {
    "DIFFUSION": DWI,
    "FLUID_ATTENUATED": FLAIR,
    "PERFUSION": PERFUSION,
    "PROTON_DENSITY": PD,
    "STIR": STIR,
    "T1": T1,
    "T2": T2,
    "T2_STAR": T2_STAR,
    "TOF": TOF,
    "FLOW_ENCODED": OTHER,
    "TAGGING": OTHER,
    "TEMPERATURE": OTHER,
}
_PULSES = {
    "SPIN": SPIN_ECHO,
    "BOTH": SPIN_ECHO,
    "SE": SPIN_ECHO,
    "GRADIENT": GRADIENT_ECHO,
    "GR": GRADIENT_ECHO,
}
_DIFFUSION = """
    dwi, dti, diff, diffusion, trace, tracew, ep2d diff, resolve, diffusione, dwibs, 弥散, 扩散,
    拡散
"""
_PERFUSION = "perf, perfusion, pwi, dsc, asl, pcasl, pasl, 灌注"
_OTHER = """
    bold, fmri, fieldmap, field map, field mapping, gre field, b0, phase contrast, pc, pca,
    venc, spectroscopy
"""
_STEADY = """
    fiesta, ciss, trufi, truefisp, bffe, b ffe, btfe, dess, fisp, space ciss, ssfp
"""
_DOUBLE = "dir, double inversion"
_SWI = "swi, swan, swip, susceptibility, vensusc, ven bold, 磁敏感, 磁化率"
_TOF = "tof, inflow, mra, angio, *fl3d1r, *fi3d1r, vasctof gems, 3di mc htof"
_NAMED = {
    FLAIR: "flair, tirm, dark fluid, darkfluid",
    STIR: "stir",
    ADC: "adc, eadc, apparent diffusion coefficient",
    DWI: _DIFFUSION,
    SWI: _SWI,
    TOF: _TOF,
    PERFUSION: _PERFUSION,
    OTHER: f"{_OTHER}, {_STEADY}",
    T2_STAR: "t2star, t2 star, hemo, t2gre, medic, merge",
    T1: """
        t1, t1w, t1wi, t1se, mprage, mp rage, bravo, spgr, fspgr, vibe, thrive, lava, t1ffe,
        t1 tfe, flash
    """,
    T2: "t2, t2w, t2wi, t2tse, t2fse, haste, blade t2, propeller t2",
    PD: "pd, pdw, proton density, rho, 质子",
}  # fmt: skip


def weighting(header: InstanceHeader) -> str:
    """Return T1, T2, PD, FLAIR, STIR, DWI, ADC, SWI, T2*, TOF, PERFUSION, OTHER or "unknown"."""
    a, said = header.acquisition, _said(header)
    special = _calculated(a) or _declared(a) or _diffusion(a, said) or _perfusion(a, said)
    if special:
        return special
    tr, te = a.repetition_time_ms, a.echo_time_ms
    if not tr or not te:
        return next((kind for kind, words in _NAMED.items() if says(said, words)), UNKNOWN)
    if says(said, _OTHER):
        return OTHER
    if echo(header) == GRADIENT_ECHO and not _inverted(a):
        return _by_gradient_echo(a, said, tr=tr, te=te)
    return _by_timing(a, said, tr=tr, te=te)


def dimension(header: InstanceHeader) -> str:
    """Return ``"2D"``, ``"3D"`` or "unknown": how the volume was encoded."""
    declared = header.acquisition.technique.mr_acquisition
    if declared in DIMENSIONS:
        return declared
    said = _said(header).replace("3d", " 3d ").replace("2d", " 2d ")
    return next((found.upper() for found in ("3d", "2d") if says(said, found)), UNKNOWN)


def echo(header: InstanceHeader) -> str:
    """Return ``SPIN_ECHO``, ``GRADIENT_ECHO`` or "unknown"; an inversion does not change it."""
    a = header.acquisition
    for pulse in (a.technique.echo_pulse, *a.scanning_sequence):
        if pulse in _PULSES:
            return _PULSES[pulse]
    if "EP" in a.scanning_sequence or not a.repetition_time_ms:
        return UNKNOWN
    if a.repetition_time_ms < _LONG_GRADIENT_TR:
        return GRADIENT_ECHO  # too short for a refocusing pulse to be of use
    return SPIN_ECHO if (a.technique.echo_train or 0) > 1 else UNKNOWN


def _said(header: InstanceHeader) -> str:
    a = header.acquisition
    return joined(
        (
            header.series.description,
            header.series.protocol,
            a.sequence_name,
            *a.technique.scan_options,
        )
    )


def _calculated(a: Acquisition) -> str:
    kinds = joined(a.image_type)
    if says(kinds, _NAMED[ADC]):
        return ADC
    return OTHER if says(kinds, "fa, phase map, t1 map, t2 map, b0 map, velocity") else ""


def _declared(a: Acquisition) -> str:
    return _CONTRASTS.get(a.technique.mr_contrast, "")


def _diffusion(a: Acquisition, said: str) -> str:
    """Take a b-value as proof, and words where the echo is as late as gradients make it."""
    late = a.echo_time_ms is None or a.echo_time_ms >= _DIFFUSION_TE
    weighted = a.b_value is not None and (a.b_value > 0 or "EP" in a.scanning_sequence)
    if weighted or "DIFFUSION" in a.image_type:
        return ADC if says(said, _NAMED[ADC]) and not a.b_value else DWI
    if late and says(said, _NAMED[ADC]):
        return ADC
    return DWI if late and a.echo_time_ms and says(said, _DIFFUSION) else ""


def _perfusion(a: Acquisition, said: str) -> str:
    if a.label or "PERFUSION" in a.image_type or "ASL" in a.image_type:
        return PERFUSION
    if "EP" in a.scanning_sequence:
        return PERFUSION if says(said, _PERFUSION) else OTHER
    return ""


def _by_gradient_echo(a: Acquisition, said: str, *, tr: float, te: float) -> str:
    t = a.technique
    flip, fast = a.flip_angle_deg or 0.0, tr <= _LONG_GRADIENT_TR
    if t.angio or "TOF" in t.sequence_variant or says(said, _TOF):
        return TOF
    if says(said, _STEADY) or (
        "SS" in t.sequence_variant and flip >= _STEADY_FLIP_DEG and tr <= _STEADY_TR
    ):
        return OTHER
    if says(said, _SWI) and fast:
        return SWI  # of several echoes only the first one's time may be written
    if te >= _T2_STAR_TE:
        return SWI if t.mr_acquisition == "3D" and fast else T2_STAR
    return PD if tr > _SHORT_TR or 0 < flip < _SMALL_FLIP_DEG else T1


def _by_timing(a: Acquisition, said: str, *, tr: float, te: float) -> str:
    """Spin echoes, and gradient echoes after an inversion; TE is the effective one.

    Echoes between short and long are what they are called: protocols differ in where T2 begins.
    """
    ti = a.inversion_time_ms or 0.0
    inverted = _inverted(a)
    if inverted and _FAT_TI[0] <= ti <= _FAT_TI[1] and tr > _SHORT_TR:
        return STIR
    if te >= _LONG_TE:
        if inverted and says(said, _DOUBLE):
            return OTHER
        return FLAIR if inverted and ti > _LONG_TI else T2
    if te < _SHORT_TE and (tr <= _SHORT_TR or (inverted and 0 < ti <= _LONG_TI)):
        return T1
    called = next((kind for kind in (PD, T2) if says(said, _NAMED[kind])), OTHER)
    return PD if te < _SHORT_TE else called


def _inverted(a: Acquisition) -> bool:
    return (
        "IR" in a.scanning_sequence or bool(a.inversion_time_ms) or a.technique.inversion_recovery
    )
