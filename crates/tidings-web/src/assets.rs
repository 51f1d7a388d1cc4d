//! Made by `npm run build` in `ui/`: do not edit.

use crate::asset::{Asset, Representation};

/// The embedded files.
pub(crate) static ASSETS: &[Asset] = &[
    Asset {
        path: "/assets/Ancestors-Btwuvm2L.js",
        content_type: "text/javascript; charset=utf-8",
        is_immutable: true,
        representations: &[
            Representation {
                encoding: Some("br"),
                etag: "\"W-lwMOly7Im0oKEjShHXuv-br\"",
                body: include_bytes!("../ui/dist/assets/Ancestors-Btwuvm2L.js.br"),
            },
            Representation {
                encoding: Some("gzip"),
                etag: "\"W-lwMOly7Im0oKEjShHXuv-gzip\"",
                body: include_bytes!("../ui/dist/assets/Ancestors-Btwuvm2L.js.gzip"),
            },
            Representation {
                encoding: None,
                etag: "\"W-lwMOly7Im0oKEjShHXuv\"",
                body: include_bytes!("../ui/dist/assets/Ancestors-Btwuvm2L.js"),
            },
        ],
    },
    Asset {
        path: "/assets/Ansi-B4-dR1WO.js",
        content_type: "text/javascript; charset=utf-8",
        is_immutable: true,
        representations: &[
            Representation {
                encoding: Some("br"),
                etag: "\"lL4fcfF52EAgJqmcjCIz2k-br\"",
                body: include_bytes!("../ui/dist/assets/Ansi-B4-dR1WO.js.br"),
            },
            Representation {
                encoding: Some("gzip"),
                etag: "\"lL4fcfF52EAgJqmcjCIz2k-gzip\"",
                body: include_bytes!("../ui/dist/assets/Ansi-B4-dR1WO.js.gzip"),
            },
            Representation {
                encoding: None,
                etag: "\"lL4fcfF52EAgJqmcjCIz2k\"",
                body: include_bytes!("../ui/dist/assets/Ansi-B4-dR1WO.js"),
            },
        ],
    },
    Asset {
        path: "/assets/Children-BS__8F3v.js",
        content_type: "text/javascript; charset=utf-8",
        is_immutable: true,
        representations: &[
            Representation {
                encoding: Some("br"),
                etag: "\"9d1Ly7dyHmK5P_hTmfEK50-br\"",
                body: include_bytes!("../ui/dist/assets/Children-BS__8F3v.js.br"),
            },
            Representation {
                encoding: Some("gzip"),
                etag: "\"9d1Ly7dyHmK5P_hTmfEK50-gzip\"",
                body: include_bytes!("../ui/dist/assets/Children-BS__8F3v.js.gzip"),
            },
            Representation {
                encoding: None,
                etag: "\"9d1Ly7dyHmK5P_hTmfEK50\"",
                body: include_bytes!("../ui/dist/assets/Children-BS__8F3v.js"),
            },
        ],
    },
    Asset {
        path: "/assets/Coloured-CtO1GeUi.js",
        content_type: "text/javascript; charset=utf-8",
        is_immutable: true,
        representations: &[
            Representation {
                encoding: Some("br"),
                etag: "\"UCVQ-pBNtdsEaeGYTzqO04-br\"",
                body: include_bytes!("../ui/dist/assets/Coloured-CtO1GeUi.js.br"),
            },
            Representation {
                encoding: Some("gzip"),
                etag: "\"UCVQ-pBNtdsEaeGYTzqO04-gzip\"",
                body: include_bytes!("../ui/dist/assets/Coloured-CtO1GeUi.js.gzip"),
            },
            Representation {
                encoding: None,
                etag: "\"UCVQ-pBNtdsEaeGYTzqO04\"",
                body: include_bytes!("../ui/dist/assets/Coloured-CtO1GeUi.js"),
            },
        ],
    },
    Asset {
        path: "/assets/Commands-CKAlReSx.js",
        content_type: "text/javascript; charset=utf-8",
        is_immutable: true,
        representations: &[
            Representation {
                encoding: Some("br"),
                etag: "\"sgXXruuyIlCc0zKjZjnzWe-br\"",
                body: include_bytes!("../ui/dist/assets/Commands-CKAlReSx.js.br"),
            },
            Representation {
                encoding: Some("gzip"),
                etag: "\"sgXXruuyIlCc0zKjZjnzWe-gzip\"",
                body: include_bytes!("../ui/dist/assets/Commands-CKAlReSx.js.gzip"),
            },
            Representation {
                encoding: None,
                etag: "\"sgXXruuyIlCc0zKjZjnzWe\"",
                body: include_bytes!("../ui/dist/assets/Commands-CKAlReSx.js"),
            },
        ],
    },
    Asset {
        path: "/assets/Found-Bkcpu2CK.js",
        content_type: "text/javascript; charset=utf-8",
        is_immutable: true,
        representations: &[
            Representation {
                encoding: Some("br"),
                etag: "\"KHGdjxav0D6dQTSo9khSBP-br\"",
                body: include_bytes!("../ui/dist/assets/Found-Bkcpu2CK.js.br"),
            },
            Representation {
                encoding: Some("gzip"),
                etag: "\"KHGdjxav0D6dQTSo9khSBP-gzip\"",
                body: include_bytes!("../ui/dist/assets/Found-Bkcpu2CK.js.gzip"),
            },
            Representation {
                encoding: None,
                etag: "\"KHGdjxav0D6dQTSo9khSBP\"",
                body: include_bytes!("../ui/dist/assets/Found-Bkcpu2CK.js"),
            },
        ],
    },
    Asset {
        path: "/assets/List-CG-udFIn.js",
        content_type: "text/javascript; charset=utf-8",
        is_immutable: true,
        representations: &[
            Representation {
                encoding: Some("br"),
                etag: "\"qJ_S6y1Zyy0hF3fJHwVWFR-br\"",
                body: include_bytes!("../ui/dist/assets/List-CG-udFIn.js.br"),
            },
            Representation {
                encoding: Some("gzip"),
                etag: "\"qJ_S6y1Zyy0hF3fJHwVWFR-gzip\"",
                body: include_bytes!("../ui/dist/assets/List-CG-udFIn.js.gzip"),
            },
            Representation {
                encoding: None,
                etag: "\"qJ_S6y1Zyy0hF3fJHwVWFR\"",
                body: include_bytes!("../ui/dist/assets/List-CG-udFIn.js"),
            },
        ],
    },
    Asset {
        path: "/assets/Markdown-CMkAgtnV.js",
        content_type: "text/javascript; charset=utf-8",
        is_immutable: true,
        representations: &[
            Representation {
                encoding: Some("br"),
                etag: "\"Oj5zWOSyPLIcGoFVaYMW6V-br\"",
                body: include_bytes!("../ui/dist/assets/Markdown-CMkAgtnV.js.br"),
            },
            Representation {
                encoding: Some("gzip"),
                etag: "\"Oj5zWOSyPLIcGoFVaYMW6V-gzip\"",
                body: include_bytes!("../ui/dist/assets/Markdown-CMkAgtnV.js.gzip"),
            },
            Representation {
                encoding: None,
                etag: "\"Oj5zWOSyPLIcGoFVaYMW6V\"",
                body: include_bytes!("../ui/dist/assets/Markdown-CMkAgtnV.js"),
            },
        ],
    },
    Asset {
        path: "/assets/Output-6TGDJXut.js",
        content_type: "text/javascript; charset=utf-8",
        is_immutable: true,
        representations: &[
            Representation {
                encoding: Some("br"),
                etag: "\"NzYU9mq4X49JFMYenSqVB0-br\"",
                body: include_bytes!("../ui/dist/assets/Output-6TGDJXut.js.br"),
            },
            Representation {
                encoding: Some("gzip"),
                etag: "\"NzYU9mq4X49JFMYenSqVB0-gzip\"",
                body: include_bytes!("../ui/dist/assets/Output-6TGDJXut.js.gzip"),
            },
            Representation {
                encoding: None,
                etag: "\"NzYU9mq4X49JFMYenSqVB0\"",
                body: include_bytes!("../ui/dist/assets/Output-6TGDJXut.js"),
            },
        ],
    },
    Asset {
        path: "/assets/Questions-CtXd0MQt.js",
        content_type: "text/javascript; charset=utf-8",
        is_immutable: true,
        representations: &[
            Representation {
                encoding: Some("br"),
                etag: "\"XLloGgJVwzZ9ASewHGAME6-br\"",
                body: include_bytes!("../ui/dist/assets/Questions-CtXd0MQt.js.br"),
            },
            Representation {
                encoding: Some("gzip"),
                etag: "\"XLloGgJVwzZ9ASewHGAME6-gzip\"",
                body: include_bytes!("../ui/dist/assets/Questions-CtXd0MQt.js.gzip"),
            },
            Representation {
                encoding: None,
                etag: "\"XLloGgJVwzZ9ASewHGAME6\"",
                body: include_bytes!("../ui/dist/assets/Questions-CtXd0MQt.js"),
            },
        ],
    },
    Asset {
        path: "/assets/Timeline-D7Oc_S1T.js",
        content_type: "text/javascript; charset=utf-8",
        is_immutable: true,
        representations: &[
            Representation {
                encoding: Some("br"),
                etag: "\"sBjbGekoXXCXcB5X3wJXRA-br\"",
                body: include_bytes!("../ui/dist/assets/Timeline-D7Oc_S1T.js.br"),
            },
            Representation {
                encoding: Some("gzip"),
                etag: "\"sBjbGekoXXCXcB5X3wJXRA-gzip\"",
                body: include_bytes!("../ui/dist/assets/Timeline-D7Oc_S1T.js.gzip"),
            },
            Representation {
                encoding: None,
                etag: "\"sBjbGekoXXCXcB5X3wJXRA\"",
                body: include_bytes!("../ui/dist/assets/Timeline-D7Oc_S1T.js"),
            },
        ],
    },
    Asset {
        path: "/assets/Value-BlxIqEho.js",
        content_type: "text/javascript; charset=utf-8",
        is_immutable: true,
        representations: &[
            Representation {
                encoding: Some("br"),
                etag: "\"U6K3zJRgiQEZdzPjntCS_w-br\"",
                body: include_bytes!("../ui/dist/assets/Value-BlxIqEho.js.br"),
            },
            Representation {
                encoding: Some("gzip"),
                etag: "\"U6K3zJRgiQEZdzPjntCS_w-gzip\"",
                body: include_bytes!("../ui/dist/assets/Value-BlxIqEho.js.gzip"),
            },
            Representation {
                encoding: None,
                etag: "\"U6K3zJRgiQEZdzPjntCS_w\"",
                body: include_bytes!("../ui/dist/assets/Value-BlxIqEho.js"),
            },
        ],
    },
    Asset {
        path: "/assets/actions-zYUcYvfR.js",
        content_type: "text/javascript; charset=utf-8",
        is_immutable: true,
        representations: &[
            Representation {
                encoding: Some("br"),
                etag: "\"gP6cH4MpVQnLziJhowpN1F-br\"",
                body: include_bytes!("../ui/dist/assets/actions-zYUcYvfR.js.br"),
            },
            Representation {
                encoding: Some("gzip"),
                etag: "\"gP6cH4MpVQnLziJhowpN1F-gzip\"",
                body: include_bytes!("../ui/dist/assets/actions-zYUcYvfR.js.gzip"),
            },
            Representation {
                encoding: None,
                etag: "\"gP6cH4MpVQnLziJhowpN1F\"",
                body: include_bytes!("../ui/dist/assets/actions-zYUcYvfR.js"),
            },
        ],
    },
    Asset {
        path: "/assets/address-CHOEVcEX.js",
        content_type: "text/javascript; charset=utf-8",
        is_immutable: true,
        representations: &[
            Representation {
                encoding: Some("br"),
                etag: "\"zn1kY3dNBMicxgu2515nzA-br\"",
                body: include_bytes!("../ui/dist/assets/address-CHOEVcEX.js.br"),
            },
            Representation {
                encoding: Some("gzip"),
                etag: "\"zn1kY3dNBMicxgu2515nzA-gzip\"",
                body: include_bytes!("../ui/dist/assets/address-CHOEVcEX.js.gzip"),
            },
            Representation {
                encoding: None,
                etag: "\"zn1kY3dNBMicxgu2515nzA\"",
                body: include_bytes!("../ui/dist/assets/address-CHOEVcEX.js"),
            },
        ],
    },
    Asset {
        path: "/assets/dashboard-CttcYtPw.css",
        content_type: "text/css; charset=utf-8",
        is_immutable: true,
        representations: &[
            Representation {
                encoding: Some("br"),
                etag: "\"MRF_Sr3uS_uZv72Y9M-gl7-br\"",
                body: include_bytes!("../ui/dist/assets/dashboard-CttcYtPw.css.br"),
            },
            Representation {
                encoding: Some("gzip"),
                etag: "\"MRF_Sr3uS_uZv72Y9M-gl7-gzip\"",
                body: include_bytes!("../ui/dist/assets/dashboard-CttcYtPw.css.gzip"),
            },
            Representation {
                encoding: None,
                etag: "\"MRF_Sr3uS_uZv72Y9M-gl7\"",
                body: include_bytes!("../ui/dist/assets/dashboard-CttcYtPw.css"),
            },
        ],
    },
    Asset {
        path: "/assets/dashboard-QIUE8Rcl.js",
        content_type: "text/javascript; charset=utf-8",
        is_immutable: true,
        representations: &[
            Representation {
                encoding: Some("br"),
                etag: "\"zjh_E-tgaM4h4mzvE4ZG-d-br\"",
                body: include_bytes!("../ui/dist/assets/dashboard-QIUE8Rcl.js.br"),
            },
            Representation {
                encoding: Some("gzip"),
                etag: "\"zjh_E-tgaM4h4mzvE4ZG-d-gzip\"",
                body: include_bytes!("../ui/dist/assets/dashboard-QIUE8Rcl.js.gzip"),
            },
            Representation {
                encoding: None,
                etag: "\"zjh_E-tgaM4h4mzvE4ZG-d\"",
                body: include_bytes!("../ui/dist/assets/dashboard-QIUE8Rcl.js"),
            },
        ],
    },
    Asset {
        path: "/assets/save-DXCvm9zc.js",
        content_type: "text/javascript; charset=utf-8",
        is_immutable: true,
        representations: &[
            Representation {
                encoding: Some("br"),
                etag: "\"Rr8vHY0bF0y14xW-9QR6Qz-br\"",
                body: include_bytes!("../ui/dist/assets/save-DXCvm9zc.js.br"),
            },
            Representation {
                encoding: Some("gzip"),
                etag: "\"Rr8vHY0bF0y14xW-9QR6Qz-gzip\"",
                body: include_bytes!("../ui/dist/assets/save-DXCvm9zc.js.gzip"),
            },
            Representation {
                encoding: None,
                etag: "\"Rr8vHY0bF0y14xW-9QR6Qz\"",
                body: include_bytes!("../ui/dist/assets/save-DXCvm9zc.js"),
            },
        ],
    },
    Asset {
        path: "/assets/sse-WSUvVRVV.js",
        content_type: "text/javascript; charset=utf-8",
        is_immutable: true,
        representations: &[
            Representation {
                encoding: Some("br"),
                etag: "\"aZPtmHk2uBHL4naagK12Mm-br\"",
                body: include_bytes!("../ui/dist/assets/sse-WSUvVRVV.js.br"),
            },
            Representation {
                encoding: Some("gzip"),
                etag: "\"aZPtmHk2uBHL4naagK12Mm-gzip\"",
                body: include_bytes!("../ui/dist/assets/sse-WSUvVRVV.js.gzip"),
            },
            Representation {
                encoding: None,
                etag: "\"aZPtmHk2uBHL4naagK12Mm\"",
                body: include_bytes!("../ui/dist/assets/sse-WSUvVRVV.js"),
            },
        ],
    },
    Asset {
        path: "/elsewhere.html",
        content_type: "text/html; charset=utf-8",
        is_immutable: false,
        representations: &[
            Representation {
                encoding: Some("br"),
                etag: "\"Sa8wNPqIWbvxuZZfj6zugi-br\"",
                body: include_bytes!("../ui/dist/elsewhere.html.br"),
            },
            Representation {
                encoding: Some("gzip"),
                etag: "\"Sa8wNPqIWbvxuZZfj6zugi-gzip\"",
                body: include_bytes!("../ui/dist/elsewhere.html.gzip"),
            },
            Representation {
                encoding: None,
                etag: "\"Sa8wNPqIWbvxuZZfj6zugi\"",
                body: include_bytes!("../ui/dist/elsewhere.html"),
            },
        ],
    },
    Asset {
        path: "/favicon.svg",
        content_type: "image/svg+xml",
        is_immutable: false,
        representations: &[
            Representation {
                encoding: Some("br"),
                etag: "\"l_mxWOhphA7n4sKkaM3X2o-br\"",
                body: include_bytes!("../ui/dist/favicon.svg.br"),
            },
            Representation {
                encoding: Some("gzip"),
                etag: "\"l_mxWOhphA7n4sKkaM3X2o-gzip\"",
                body: include_bytes!("../ui/dist/favicon.svg.gzip"),
            },
            Representation {
                encoding: None,
                etag: "\"l_mxWOhphA7n4sKkaM3X2o\"",
                body: include_bytes!("../ui/dist/favicon.svg"),
            },
        ],
    },
    Asset {
        path: "/index.html",
        content_type: "text/html; charset=utf-8",
        is_immutable: false,
        representations: &[
            Representation {
                encoding: Some("br"),
                etag: "\"11btPTDfqnjCjzpwTbAVS5-br\"",
                body: include_bytes!("../ui/dist/index.html.br"),
            },
            Representation {
                encoding: Some("gzip"),
                etag: "\"11btPTDfqnjCjzpwTbAVS5-gzip\"",
                body: include_bytes!("../ui/dist/index.html.gzip"),
            },
            Representation {
                encoding: None,
                etag: "\"11btPTDfqnjCjzpwTbAVS5\"",
                body: include_bytes!("../ui/dist/index.html"),
            },
        ],
    },
    Asset {
        path: "/task.html",
        content_type: "text/html; charset=utf-8",
        is_immutable: false,
        representations: &[
            Representation {
                encoding: Some("br"),
                etag: "\"lq69YfMH4Y74Ehw9B5Mh7w-br\"",
                body: include_bytes!("../ui/dist/task.html.br"),
            },
            Representation {
                encoding: Some("gzip"),
                etag: "\"lq69YfMH4Y74Ehw9B5Mh7w-gzip\"",
                body: include_bytes!("../ui/dist/task.html.gzip"),
            },
            Representation {
                encoding: None,
                etag: "\"lq69YfMH4Y74Ehw9B5Mh7w\"",
                body: include_bytes!("../ui/dist/task.html"),
            },
        ],
    },
    Asset {
        path: "/tidings.js",
        content_type: "text/javascript; charset=utf-8",
        is_immutable: false,
        representations: &[
            Representation {
                encoding: Some("br"),
                etag: "\"wpxa4Av3cwaopNS7pcIwwU-br\"",
                body: include_bytes!("../ui/dist/tidings.js.br"),
            },
            Representation {
                encoding: Some("gzip"),
                etag: "\"wpxa4Av3cwaopNS7pcIwwU-gzip\"",
                body: include_bytes!("../ui/dist/tidings.js.gzip"),
            },
            Representation {
                encoding: None,
                etag: "\"wpxa4Av3cwaopNS7pcIwwU\"",
                body: include_bytes!("../ui/dist/tidings.js"),
            },
        ],
    },
];
