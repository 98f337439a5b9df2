"""Which part of the body a series shows: by code, Body Part Examined, words in eleven languages.

Regions are HEAD, NECK, CHEST, BREAST, ABDOMEN, PELVIS, SPINE and EXTREMITY; a scan may show more
than one.
"""

from collections.abc import Iterable

from imaging.header import InstanceHeader
from imaging.words import says, without

# What a region's word occurs in without meaning the region, in any language.
_ELSEWHERE = """
    femoral head, femur head, humeral head, radial head, fibular head, metatarsal head,
    metacarpal head, pancreatic head, head of pancreas, head of the pancreas, head of femur,
    head of the femur, head of humerus, head of the humerus, head first, feet first, foot first,
    hand injection, head holder, head coil, femoral neck, neck of femur, neck of the femur,
    bladder neck, surgical neck, spine coil, neck coil, body coil, tête fémorale, tete femorale,
    tête humérale, tête du fémur, tête du pancréas, col du fémur, col fémoral, col utérin,
    cabeza femoral, cabeza humeral, cabeza del fémur, cabeza del páncreas, cabeza de páncreas,
    cuello femoral, cuello uterino, testa femorale, testa omerale, testa del femore,
    testa del pancreas, collo femorale, collo uterino, cabeça do fêmur, cabeça femoral,
    cabeça do pâncreas, colo do fêmur, colo uterino, шейка матки, шейка бедра, головка бедра,
    股骨头, 肱骨头, 桡骨头, 胰头, 股骨颈, 宫颈, 膀胱颈, 头静脉, 头臂, 大腿骨頭, 上腕骨頭, 膵頭,
    大腿骨頸, 子宮頸, 骨頭, 頭痛, 头痛, 膀胱頸, 手术, 手術, 不足, 足先, 头先, 자궁경부
"""
# The spine comes first: "胸椎" is not the chest, "cervical spine" not the neck.
_WORDS = {
    "SPINE": """
        spine, cspine, tspine, lspine, sspine, c spine, t spine, l spine, vertebra, vertebrae,
        spinal, myelon, cervical spine, thoracic spine, lumbar spine, lumbar, lumbosacral,
        sacrum, hws, bws, lws, wirbelsäule, wirbelsaeule, halswirbelsäule, brustwirbelsäule,
        lendenwirbelsäule, rachis, colonne vertébrale, rachis cervical, columna,
        columna cervical, columna lumbar, columna dorsal, colonna, rachide, coluna,
        coluna cervical, coluna lombar, wervelkolom, cwk, lwk, twk, позвоночник*, позвоночн*,
        шейный отдел, грудной отдел, поясничн*, 颈椎, 胸椎, 腰椎, 骶椎, 脊柱, 脊椎, 脊髓, 頸椎,
        胸腰椎, 腰骶, 颈胸椎, 頚椎, 仙椎, 척추, 경추, 흉추, 요추
    """,
    "HEAD": """
        head, brain, skull, cranium, cranial, neuro, cerebral, cerebrum, headneck, neurocranium,
        pituitary, sella, orbit, orbits, sinuses, nnh, iac, iam, temporal bone, facial bones,
        circle of willis, kopf, schädel, schaedel, gehirn, hirn, cct, cerveau, crâne, crane,
        tête, tete, encéphale, encephale, cérébral, cérébrale, cabeza, cráneo, craneo, cerebro,
        encéfalo, encefalo, testa, cranio, cervello, capo, cabeça, cabeca, crânio, cérebro,
        hoofd, schedel, hersenen, голов*, мозг*, головн*, череп*, stroke, 头, 脑,
        颅, 垂体, 眼眶, 鼻窦, 鼻腔, 内耳, 뇌, 두부, 머리, 두경부, 頭, 脳, 下垂体, 眼窩
    """,
    "NECK": """
        neck, headneck, larynx, thyroid, carotid, carotids, hals, kopf hals, cou, cuello, collo,
        pescoço, pescoco, nek, шея, шеи, горт*, 颈, 喉, 甲状腺, 頸, 頚, 두경부, 경부, 갑상선
    """,
    "CHEST": """
        chest, thorax, lung, lungs, thoraces, pulmonary, heart, cardiac, mediastinum, coronary,
        chestabdomen, chestabdpelvis, cap, tap, lunge, herz, brustkorb, poumon, poumons, coeur,
        cœur, tórax, torax, pulmón, pulmon, pulmones, corazón, corazon, torace, polmone,
        polmoni, cuore, pulmão, pulmao, coração, longen, borstkas, hart, грудь, грудной клетк*,
        грудная клетка, легк*, лёгк*, сердц*, огк, 胸, 肺, 心脏, 冠脉, 心臓,
        冠動脈, 흉부, 가슴, 심장, thoracique, thoraciques, hrct, ctpa, thor
    """,
    "BREAST": """
        breast, mamma, mammo, mammae, seins, mama, mamas, mammella, молочн*, 乳腺, 乳房, 유방
    """,
    "ABDOMEN": """
        abdomen, abdo, abdominal, liver, kidney, kidneys, renal, pancreas, spleen,
        upper abdomen, chestabdomen, chestabdpelvis, abdomenpelvis, abdpelvis, cap, tap, mrcp,
        urography, bauch, oberbauch, unterbauch, leber, niere, nieren, pankreas, foie, rein,
        reins, ventre, hígado, higado, riñón, páncreas, vientre, addome, fegato, reni, abdome,
        fígado, figado, rins, buik, lever, живот*, брюшн*, печен*, почк*, 腹, 肝, 肾, 胰, 脾,
        上腹, 腎, 膵, 복부, 신장, 췌장, abd, abdomino, kub, colonography, colonoscopy, ctu
    """,
    "PELVIS": """
        pelvis, pelvic, abdomenpelvis, abdpelvis, chestabdpelvis, cap, tap, prostate, uterus,
        bladder, rectum, becken, prostata, bassin, pelvien, vessie, pelvico, vejiga, próstata,
        bacino, pelvi, bacia, pélvis, bekken, таз, таза, малый таз, 盆腔, 骨盆, 前列腺, 子宫,
        骨盤, 前立腺, 子宮, 골반, 전립선, 자궁, pelv, pelvienne
    """,
    "EXTREMITY": """
        extremity, knee, ankle, foot, feet, toe, hip, femur, thigh, leg, tibia, calf, shoulder,
        arm, humerus, elbow, forearm, wrist, hand, finger, knie, sprunggelenk, fuss, fuß, hüfte,
        huefte, oberschenkel, unterschenkel, schulter, ellenbogen, handgelenk, kniegelenk,
        genou, cheville, pied, hanche, épaule, coude, poignet, rodilla, tobillo, cadera, hombro,
        codo, muñeca, mano, ginocchio, caviglia, piede, anca, spalla, gomito, polso, joelho,
        tornozelo, quadril, ombro, cotovelo, punho, enkel, voet, heup, schouder, elleboog,
        колен*, голеностоп*, стоп*, плеч*, локт*, тазобедренн*, кист*, 膝, 踝, 足, 髋, 股骨, 肩,
        肘, 腕, 手, 下肢, 上肢, 股関節, 무릎, 어깨, 손목, 발목, 고관절, low exm, up exm,
        lower extremity, upper extremity
    """,
}
# Anatomic Region codes (PS3.16 CID 4031), SNOMED CT and the older SRT.
_CODES = {
    "HEAD": "69536005 12738006 89546000 774007 363654007 371398005 T-D1100 T-A0100 T-11100 T-D1000",
    "NECK": "45048000 774007 69105007 T-D1600 T-D1000",
    "CHEST": "51185008 43799004 39607008 80891009 416550000 416775004 T-D3000 T-28000 T-32000",
    "BREAST": "76752008 T-04000",
    "ABDOMEN": "818981001 818983003 113345001 416550000 416775004 416949008 10200004 64033007 "
    "T-D4000 T-62000 T-71000",
    "PELVIS": "12921003 816092008 816094009 416775004 416949008 41216001 T-D6000",
    "SPINE": "421060004 122494005 122495006 122496007 297171002 297173004 T-11500",
    "EXTREMITY": "66019005 61685007 53120007 72696002 29836001 16982005 70258002 56459004 8205005 "
    "85562004 T-D8000 T-D9000",
}
REGIONS = tuple(_CODES)


def regions_of(header: InstanceHeader) -> tuple[str, ...]:
    """Return the regions that a series shows, in the order of this module; none if nothing tells.

    Codes decide. Then Body Part Examined, unless two descriptions agree on something else and none
    agrees with it: scanners fill it in from whatever protocol was copied. Then the descriptions.
    """
    series = header.series
    anatomy = header.acquisition.technique.anatomy
    coded = _ordered(r for r, codes in _CODES.items() for c in anatomy if c.value in codes.split())
    return coded or regions_named(
        series.body_part, series.description, series.protocol, header.study.description
    )


def regions_named(body_part: str, *descriptions: str) -> tuple[str, ...]:
    """Return the regions by Body Part Examined and by descriptions, those of the series first."""
    declared = _named(body_part)
    described = [found for text in descriptions if (found := _named(text))]
    if declared and len(described) > 1 and not any(set(declared) & set(d) for d in described):
        agreed = set.intersection(*map(set, described))
        if agreed:
            return _ordered(agreed)
    if declared or not described:
        return declared or ((body_part.upper(),) if body_part else ())
    return described[0]


def _named(text: str) -> tuple[str, ...]:
    rest = without(text, _ELSEWHERE)
    found = []
    for region, words in _WORDS.items():
        if says(rest, words):
            found.append(region)
        if region == "SPINE":
            rest = without(rest, words)
    return _ordered(found)


def _ordered(found: Iterable[str]) -> tuple[str, ...]:
    present = frozenset(found)
    return tuple(region for region in _CODES if region in present)
