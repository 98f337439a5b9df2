"""What the viewer is told before it starts: ``app-config.js``."""

import json

from dicom_node.web_instance import ROOT as DICOMWEB
from serving.viewer.package import ROOT

_SOURCE = "wetread"
_CONFIGURATION = {
    "routerBasename": ROOT,
    "extensions": [],
    "modes": [],
    "showStudyList": True,
    "maxNumberOfWebWorkers": 3,
    "showWarningMessageForCrossOrigin": False,
    "showCPUFallbackMessage": True,
    "showLoadingIndicator": True,
    "strictZSpacingForVolumeViewport": True,
    "groupEnabledModesFirst": True,
    "disableConfirmationPrompts": True,
    "investigationalUseDialog": {"option": "never"},
    "defaultDataSourceName": _SOURCE,
    "dataSources": [
        {
            "namespace": "@ohif/extension-default.dataSourcesModule.dicomweb",
            "sourceName": _SOURCE,
            "configuration": {
                "friendlyName": "Wetread",
                "name": _SOURCE,
                "qidoRoot": DICOMWEB,
                "wadoRoot": DICOMWEB,
                "qidoSupportsIncludeField": True,
                "imageRendering": "wadors",
                "thumbnailRendering": "wadors",
                "enableStudyLazyLoad": True,
                "supportsFuzzyMatching": True,
                "supportsWildcard": True,
                "supportsStow": True,
                "dicomUploadEnabled": True,
                "omitQuotationForMultipartRequest": True,
                "bulkDataURI": {"enabled": True},
            },
        }
    ],
}
# A report whose groups have no coordinates would stop the viewport (OHIF 3.12).
_GUARD = """\
window.config.customizationService = {
  'ohif.tours': { $set: [] },
  onBeforeSRAddMeasurement: {
    $set: function ({ measurement }) {
      if (!measurement.coords || measurement.coords.length === 0) {
        measurement.coords = [{}];
      }
      return measurement;
    },
  },
};
"""


def app_config() -> str:
    """Return the script."""
    return f"window.config = {json.dumps(_CONFIGURATION, indent=2)};\n{_GUARD}"
