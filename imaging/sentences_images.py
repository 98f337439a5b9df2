"""Reasons about images: the series, its slices, and what a model needs of them."""

SENTENCES: dict[str, tuple[str, str]] = {
    # A series as a whole
    "LOCALIZER": (
        "{count} localizer image(s): they plan a scan and are not measured",
        "{count} 幅定位像：仅用于扫描定位，不作测量",
    ),
    "NOT_AN_IMAGE": (
        "an instance has no rows, columns or pixels",
        "有实例没有行、列或像素",
    ),
    "MATRIX_TOO_LARGE": (
        "a matrix of {rows} x {columns} is larger than {most}",
        "图像矩阵 {rows} x {columns} 超过上限 {most}",
    ),
    "MULTIFRAME": (
        "multi-frame images ({frames} frames) of this kind are not read",
        "不读取此类多帧图像（{frames} 帧）",
    ),
    "NOT_GREYSCALE": (
        "pixels are {found}, not grey values",
        "像素类型为 {found}，不是灰度值",
    ),
    "NO_GEOMETRY": (
        "an instance has no {lacking}: its place in the patient is unknown",
        "有图像缺少 {lacking}：在患者坐标系中的位置未知",
    ),
    "BAD_ORIENTATION": (
        "row and column directions are not perpendicular unit vectors",
        "行方向与列方向不是相互垂直的单位向量",
    ),
    "NO_SPACING": (
        "pixel spacing is {found} mm",
        "像素间距为 {found} mm，不可用",
    ),
    "HALF_RESCALE": (
        "rescale slope {slope:g} and intercept {intercept:g} are no whole transform",
        "重定标斜率 {slope:g} 与截距 {intercept:g} 不完整，不可用",
    ),
    "FOREIGN_OBJECT": (
        "a {found} is a result or a plan, not an acquired image",
        "{found}是结果或计划，不是采集的图像",
    ),
    "MOSAIC": (
        (
            "{vendor} mosaic images hold all slices in one matrix, and their header does not tell "
            "surely where each lies"
        ),
        "{vendor} 拼图（mosaic）格式将所有层面拼在一幅图像中，头信息未能确切说明各层位置",
    ),
    "IMAGE_2D": (
        "a 2D image ({found}) is not a slice of a volume",
        "二维图像（{found}）不是体数据的层面",
    ),
    "SECONDARY_CAPTURE": (
        "{count} secondary capture image(s) without a place in the patient are not measured",
        "{count} 幅二次获取图像没有患者坐标，不作测量",
    ),
    "TOMOSYNTHESIS": (
        "a tomosynthesis of {frames} frames does not tell where its slices are",
        "断层合成图像（{frames} 帧）未说明层面位置",
    ),
    "CINE": (
        "a cine run of {frames} frames has no slice positions",
        "动态图像（{frames} 帧）没有层面位置",
    ),
    "ULTRASOUND_VOLUME": (
        "a 3D ultrasound of {frames} frames is placed in a volume of its own, not in the patient",
        "三维超声（{frames} 帧）的位置属于自身坐标系，不是患者坐标系",
    ),
    "NUCLEAR_FRAMES": (
        "{frames} nuclear medicine frames ({found}) are no slices of one volume",
        "核医学图像（{found}，{frames} 帧）不是同一体数据的层面",
    ),
    "INCOMPLETE_CONCATENATION": (
        "{have} of {expected} parts of a multi-frame image are there",
        "多帧图像共分 {expected} 部分，只有 {have} 部分",
    ),
    "MIXED_KIND": (
        "the series mixes images that differ in {found}, and they are no whole stacks each",
        "该序列混有{found}不同的图像，且各自不构成完整的层组",
    ),
    "MIXED_PATIENTS": (
        "the series holds images of {count} patients",
        "该序列含有 {count} 名患者的图像",
    ),
    "MIXED_FRAME_OF_REFERENCE": (
        "the series has {count} frames of reference",
        "该序列含有 {count} 个坐标参考系",
    ),
    "MIXED_SIZE": (
        "the slices have different sizes: {found}",
        "各层图像大小不同：{found}",
    ),
    "MIXED_SPACING": (
        "the slices have different pixel spacings",
        "各层像素间距不同",
    ),
    "MIXED_ORIENTATION": (
        "the series has {count} slice orientations",
        "该序列含有 {count} 种层面方向",
    ),
    "NO_RESCALE": (
        "a CT image has no rescale slope and intercept: Hounsfield units are unknown",
        "有 CT 图像缺少重定标斜率和截距：CT 值未知",
    ),
    "BAD_RESCALE": (
        "rescale slope is {slope:g}",
        "重定标斜率为 {slope:g}，不可用",
    ),
    # Slices along the normal
    "SINGLE_IMAGE": (
        "the series is a single image, not a volume",
        "该序列只有一幅图像，不构成体数据",
    ),
    "FEW_SLICES": (
        "{count} slices; at least {least} are needed",
        "仅有 {count} 层，至少需要 {least} 层",
    ),
    "DUPLICATE_SLICES": (
        "{repeated} of {count} slices repeat a position, at {positions_mm:.2f} mm",
        "{count} 层中有 {repeated} 层位置重复，位于 {positions_mm:.2f} mm",
    ),
    "MISSING_SLICES": (
        (
            "of slices {spacing_mm:.3f} mm apart, {missing} are missing at {positions_mm:.2f} mm; "
            "{count} are there"
        ),
        "层间距 {spacing_mm:.3f} mm，缺 {missing} 层，位于 {positions_mm:.2f} mm；现有 {count} 层",
    ),
    "UNEVEN_SPACING": (
        "slice gaps run from {least_mm:.3f} to {most_mm:.3f} mm (usually {usual_mm:.3f} mm)",
        "层间距不均匀：{least_mm:.3f} 至 {most_mm:.3f} mm（通常为 {usual_mm:.3f} mm）",
    ),
    "TILTED": (
        "slices are shifted against one another by {angle_deg:.1f} degrees (gantry tilt)",
        "各层相互错移 {angle_deg:.1f} 度（机架倾斜）",
    ),
    "NOT_ALIGNED": (
        "a slice lies {astray_mm:.2f} mm beside the line of the others",
        "有一层偏离其余各层连线 {astray_mm:.2f} mm",
    ),
    # What a reader must know about a sound series
    "TILT_CORRECTED": (
        (
            "slices were shifted against one another by {angle_deg:.1f} degrees (gantry tilt) "
            "and were straightened before reading"
        ),
        "各层相互错移 {angle_deg:.1f} 度（机架倾斜），读取前已校正",
    ),
    "SPACING_CONTRADICTED": (
        (
            "the header gives {header_mm:.3f} mm between slices, their positions {used_mm:.3f} mm; "
            "the positions were used"
        ),
        "文件头所记层间距为 {header_mm:.3f} mm，按层面位置为 {used_mm:.3f} mm；采用后者",
    ),
    "SPACING_FROM_HEADER": (
        (
            "the {spacing_mm:.3f} mm between slices come from {attribute} in the header, because "
            "the slices give no positions of their own"
        ),
        "层间距 {spacing_mm:.3f} mm 取自头信息 {attribute}：图像未给出各层位置",
    ),
    "OVERLAPPING_SLICES": (
        "slices of {thickness_mm:.2f} mm overlap: they lie {spacing_mm:.2f} mm apart",
        "层厚 {thickness_mm:.2f} mm，层间距 {spacing_mm:.2f} mm，层面相互重叠",
    ),
    "LOSSY_INPUT": (
        "the images were compressed with loss before they arrived ({found})",
        "图像在送达之前经过有损压缩（{found}）",
    ),
    "SUV_APPLIED": (
        "values are SUV by body weight: {per_unit:.6g} times those in {unit}",
        "像素值已换算为按体重计算的 SUV：以 {unit} 为单位的值乘以 {per_unit:.6g}",
    ),
    "REAL_WORLD_VALUES": (
        "values are in {unit}, by the real world value map of the header",
        "像素值已按文件头的真实世界值映射换算为 {unit}",
    ),
    "NO_SUV_FACTOR": (
        "SUV cannot be calculated: the header lacks a sound {lacking}",
        "无法计算 SUV：头信息缺少有效的 {lacking}",
    ),
    "COMPLETENESS_NOT_CONFIRMED": (
        "it is not confirmed that every image arrived: {detail}",
        "未确认图像是否全部到齐：{detail}",
    ),
    "INCOMPLETE": (
        "{have} of {expected} images arrived before the waiting limit",
        "等待时限内只收到 {expected} 幅图像中的 {have} 幅",
    ),
    # What a model needs
    "MODALITY": (
        "modality is {found}, not {needed}",
        "检查设备类型为{found}，需要{needed}",
    ),
    "REGION": (
        "body region is {found}; {needed} is needed",
        "检查部位为{found}，需要{needed}",
    ),
    "ORIENTATION": (
        "slices are {found}; {needed} is needed",
        "层面方向为{found}，需要{needed}",
    ),
    "SPACING": (
        "voxels are {found_mm:.2f} mm apart; at most {most_mm:.2f} mm is needed",
        "体素间距 {found_mm:.2f} mm，不得大于 {most_mm:.2f} mm",
    ),
    "SPACING_TOO_FINE": (
        "slices are {found_mm:.2f} mm apart; at least {least_mm:.2f} mm is needed",
        "层间距 {found_mm:.2f} mm，不得小于 {least_mm:.2f} mm",
    ),
    "MANY_SLICES": (
        "{count} slices; at most {most} can be read",
        "共有 {count} 层，最多可读取 {most} 层",
    ),
    "COVERAGE": (
        "the block is {found_mm:.0f} mm {along}; at least {least_mm:.0f} mm is needed",
        "扫描范围{along}为 {found_mm:.0f} mm，至少需要 {least_mm:.0f} mm",
    ),
    "DESCRIPTION": (
        "its description does not say {needed!r}, as the model needs",
        "序列描述中没有该模型要求的 {needed!r}",
    ),
    "KERNEL": (
        "the reconstruction kernel is {found} ({name}); {needed} is needed",
        "重建核为{found}（{name}），需要{needed}",
    ),
    "WEIGHTING": (
        "MR contrast is {found}; {needed} is needed",
        "MR 加权为{found}，需要{needed}",
    ),
    "ACQUISITION": (
        "the MR acquisition is {found}; {needed} is needed",
        "MR 采集方式为{found}，需要{needed}",
    ),
    "ECHO": (
        "the MR sequence is {found}; {needed} is needed",
        "MR 序列为{found}，需要{needed}",
    ),
    "UNIT": (
        "values are in {found} and cannot be had in {needed}",
        "像素值单位为{found}，无法换算为 {needed}",
    ),
    "CONTRAST": (
        "contrast medium: {found}; {needed} is needed",
        "对比剂：{found}，需要{needed}",
    ),
    "DERIVED": (
        "the images are {found}; {needed} is needed",
        "图像为{found}，需要{needed}",
    ),
}
