"""Reasons about the work: choosing, doubting an answer, and what went wrong."""

SENTENCES: dict[str, tuple[str, str]] = {
    # Choice of series and models
    "CHOSEN": (
        "the series meets every need of the model, with {score:.1f} of 100 points",
        "该序列满足模型的全部要求，得分 {score:.1f}（满分 100）",
    ),
    "NOT_THE_BEST": (
        "the series fits with {score:.1f} points, but series {series} has {best_score:.1f}",
        "该序列符合要求，得分 {score:.1f}，但序列 {series} 得分 {best_score:.1f}",
    ),
    "RULE": (
        "rule {rule!r} does not let {model} run",
        "规则 {rule!r} 不允许运行 {model}",
    ),
    "NO_SERIES_FOR_INPUT": (
        "the model also reads {input}, which no other series of the study is",
        "该模型还需读取 {input}，而检查中没有其他序列符合",
    ),
    "INPUT_ELSEWHERE": (
        "the model also reads {input}, and what fits it lies elsewhere or shows less than half",
        "该模型还需读取 {input}，而符合的序列位于别处，或覆盖不到本序列的一半",
    ),
    "READ_BESIDE": (
        "the series is read as {input}, together with series {series}",
        "该序列作为 {input} 与序列 {series} 一并读取",
    ),
    "READ_TOGETHER": (
        "series {series} was read too, as {input}; it shows {share:.0%} of this one",
        "序列 {series} 作为 {input} 一并读取，覆盖本序列的 {share:.0%}",
    ),
    "NEEDS_MODEL": (
        "the model needs {models}, which is not installed",
        "该模型依赖的 {models} 尚未安装",
    ),
    # Why an instance is not given away
    "MAY_SHOW_IDENTITY": (
        "the pixels may show who the patient is: {detail}",
        "像素中可能含有患者身份信息：{detail}",
    ),
    "NO_IMAGES": ("the study holds no images", "该检查没有图像"),
    "NO_MODEL": ("no installed model reads {what}", "已安装的模型均不能读取{what}"),
    "NO_MODEL_ALLOWED": ("rule {rule!r} lets no model run", "规则 {rule!r} 不允许运行任何模型"),
    "NO_MODEL_INSTALLED": ("no model is installed", "尚未安装任何模型"),
    # What a model's answer is doubted for
    "NOTHING_FOUND": ("the model outlined nothing", "模型未勾画出任何结构"),
    "NOT_HEAD_LIKE": (
        "the image is {ratio:.2f} times as bright around the mask as in it, over {most:.2f}",
        "轮廓周围的信号是内部的 {ratio:.2f} 倍，高于上限 {most:.2f}",
    ),
    "MASK_TOUCHES_BORDER": (
        "the image ends within the {structure} at the {side} ({area_cm2:.0f} cm2 cut through)",
        "图像在{side}截断了{structure}（截面 {area_cm2:.0f} cm2）",
    ),
    "IMPLAUSIBLE_VOLUME": (
        "a volume of {volume_ml:.0f} ml is not plausible ({least_ml:.0f} to {most_ml:.0f} ml)",
        "体积 {volume_ml:.0f} ml 不合理（应为 {least_ml:.0f} 至 {most_ml:.0f} ml）",
    ),
    "LOW_CONFIDENCE": (
        "the mean probability in the mask is {mean:.2f}, below {least:.2f}",
        "轮廓内平均概率为 {mean:.2f}，低于 {least:.2f}",
    ),
    "NO_MASK": (
        "{model} gave no sound mask of this series",
        "{model} 未能给出该序列的可靠轮廓",
    ),
    "TOO_FEW_SLICES": (
        "{count} slices could be read, at least {least} are needed",
        "只有 {count} 层可读，至少需要 {least} 层",
    ),
    "SLICES_DISAGREE": (
        "slices disagree: {agreement:.0%} of them show {found}",
        "各层结果不一致：{agreement:.0%} 的层面显示 {found}",
    ),
    "LOW_PROBABILITY": (
        "the likeliest class, {found}, has a probability of {probability:.2f}",
        "可能性最大的类别 {found} 的概率仅为 {probability:.2f}",
    ),
    # What went wrong
    "PIXELS_UNREADABLE": ("the pixels cannot be decoded: {detail}", "像素无法解码：{detail}"),
    "MALFORMED_INSTANCE": ("an instance is damaged: {detail}", "有实例已损坏：{detail}"),
    "NOT_DICOM": ("a file is not DICOM: {detail}", "文件不是 DICOM：{detail}"),
    "INSTANCE_MISMATCH": (
        "an instance is not what its sender says: {detail}",
        "实例与发送方的声明不符：{detail}",
    ),
    "SOP_CLASS_MISMATCH": (
        "an instance is of another kind than its sender says: {detail}",
        "实例类别与发送方的声明不符：{detail}",
    ),
    "SOP_CLASS_NOT_SUPPORTED": (
        "this kind of instance is not accepted: {detail}",
        "不接受此类实例：{detail}",
    ),
    "OTHER_PATIENT": (
        "the study belongs to another patient: {detail}",
        "该检查属于另一名患者：{detail}",
    ),
    "NOT_PERFORMED": (
        "{what} analysis was not performed on {count} image(s)",
        "未对 {count} 幅图像进行{what}分析",
    ),
    "RESEARCH_ONLY": ("Research use only, unverified", "仅供研究使用，未经验证"),
    "INPUT_ERROR": ("the input cannot be understood: {detail}", "输入无法理解：{detail}"),
    "MODEL_ERROR": ("the model cannot be used: {detail}", "模型无法使用：{detail}"),
    "PACKAGE_INVALID": ("the model package is not valid: {detail}", "模型包无效：{detail}"),
    "INFERENCE_FAILED": ("the model could not be run: {detail}", "模型运行失败：{detail}"),
    "INTERNAL_ERROR": ("the analysis failed: {detail}", "分析失败：{detail}"),
    "POISON": (
        "the analysis ended its process {tries} times and was set aside",
        "该分析 {tries} 次使进程终止，已被搁置",
    ),
    "OUT_OF_MEMORY": (
        "the analysis took more memory than it may, {tries} times, and was set aside",
        "该分析 {tries} 次超出内存上限，已被搁置",
    ),
    "TOO_LARGE": ("the series is too large: {detail}", "该序列过大：{detail}"),
    "TIME_LIMIT": (
        "the analysis was stopped because it took more than {seconds:g} s",
        "该分析超过 {seconds:g} 秒，已被中止",
    ),
    # Why a result is held back
    "OUTDATED": (
        "newer images of the series came after the analysis; it is being repeated",
        "分析之后又收到该序列的新图像，正在重新分析",
    ),
    "IDENTITY_DIFFERS": (
        "the PACS has another {what} for this study",
        "PACS 中该检查的以下信息不同：{what}",
    ),
    "IDENTITY_CONTESTED": (
        "images came that say the study is another patient's, and no PACS could be asked",
        "收到的部分图像标明该检查属于另一名患者，且无法向 PACS 核实",
    ),
    "STUDY_GONE": ("the PACS no longer lists the study", "PACS 中已没有该检查"),
    "STUDY_AMBIGUOUS": (
        "the PACS lists the study {count} times, under several patients",
        "PACS 将该检查列出 {count} 次，分属不同患者",
    ),
    "OBJECT_INVALID": ("the object breaks a check: {detail}", "对象未通过检查：{detail}"),
    # Why what a reader saved corrects nothing
    "SAVED_AMBIGUOUS": (
        "it may be about several findings, or several parts of it about one",
        "其可能对应多个所见，或其中多处对应同一所见",
    ),
    "SAVED_NOT_BINARY": (
        "only binary segmentations can be compared",
        "仅能比较二值分割",
    ),
    "SAVED_NOTHING": (
        "it holds no measurement or outline of the finding that could be compared",
        "其中没有可与该所见比较的测量值或轮廓",
    ),
    "SAVED_OLDER": (
        "a later save corrects this finding already",
        "该所见已由更晚保存的对象更正",
    ),
    "SAVED_OTHER_FRAME": (
        "it has another frame of reference than our result",
        "其参考坐标系与我方结果不同",
    ),
    "SAVED_OTHER_GRID": (
        "its pixels lie on another grid than ours",
        "其像素网格与我方结果不同",
    ),
    "SAVED_OTHER_IMAGES": (
        "it lies on other images than our result, or does not say on which",
        "其所在图像与我方结果不同，或未说明所在图像",
    ),
    "SAVED_UNREADABLE": ("it cannot be read: {detail}", "无法读取：{detail}"),
    "OVERTAKEN": (
        "more images of the study arrived before this analysis began",
        "该分析开始前，此检查又收到更多图像",
    ),
    "CANCELED_BY_USER": ("canceled on request", "已按要求取消"),
    # Why a work item of another system waits
    "INPUT_NOT_HERE": (
        "images that the work item names are not here",
        "工作项所指的图像不在本系统中",
    ),
    "INPUT_UNCLEAR": (
        "the work item names {count} studies as input; exactly one is needed",
        "工作项指定了 {count} 个检查作为输入；应恰好为一个",
    ),
    "INPUT_OF_ANOTHER_PATIENT": (
        "the study that the work item names is of another patient ID",
        "工作项所指的检查属于另一患者编号",
    ),
}
