//! Made by `npm run build` in `ui/`: do not edit.

use crate::asset::{Asset, Representation};

/// The embedded files.
pub(crate) static ASSETS: &[Asset] = &[
    Asset {
        path: "/assets/Coloured-CQbrqV_T.js",
        content_type: "text/javascript; charset=utf-8",
        is_immutable: true,
        representations: &[
            Representation {
                encoding: Some("br"),
                etag: "\"f0H-h3da7x-WGggVqjdPcs-br\"",
                body: include_bytes!("../ui/dist/assets/Coloured-CQbrqV_T.js.br"),
            },
            Representation {
                encoding: Some("gzip"),
                etag: "\"f0H-h3da7x-WGggVqjdPcs-gzip\"",
                body: include_bytes!("../ui/dist/assets/Coloured-CQbrqV_T.js.gzip"),
            },
            Representation {
                encoding: None,
                etag: "\"f0H-h3da7x-WGggVqjdPcs\"",
                body: include_bytes!("../ui/dist/assets/Coloured-CQbrqV_T.js"),
            },
        ],
    },
    Asset {
        path: "/assets/Found-CYUYqqh9.js",
        content_type: "text/javascript; charset=utf-8",
        is_immutable: true,
        representations: &[
            Representation {
                encoding: Some("br"),
                etag: "\"Uwptvf6M3cp0TY4GWNBpwF-br\"",
                body: include_bytes!("../ui/dist/assets/Found-CYUYqqh9.js.br"),
            },
            Representation {
                encoding: Some("gzip"),
                etag: "\"Uwptvf6M3cp0TY4GWNBpwF-gzip\"",
                body: include_bytes!("../ui/dist/assets/Found-CYUYqqh9.js.gzip"),
            },
            Representation {
                encoding: None,
                etag: "\"Uwptvf6M3cp0TY4GWNBpwF\"",
                body: include_bytes!("../ui/dist/assets/Found-CYUYqqh9.js"),
            },
        ],
    },
    Asset {
        path: "/assets/Markdown-CdT5OwmK.js",
        content_type: "text/javascript; charset=utf-8",
        is_immutable: true,
        representations: &[
            Representation {
                encoding: Some("br"),
                etag: "\"N-718e-byPoEOpg_C0NXO_-br\"",
                body: include_bytes!("../ui/dist/assets/Markdown-CdT5OwmK.js.br"),
            },
            Representation {
                encoding: Some("gzip"),
                etag: "\"N-718e-byPoEOpg_C0NXO_-gzip\"",
                body: include_bytes!("../ui/dist/assets/Markdown-CdT5OwmK.js.gzip"),
            },
            Representation {
                encoding: None,
                etag: "\"N-718e-byPoEOpg_C0NXO_\"",
                body: include_bytes!("../ui/dist/assets/Markdown-CdT5OwmK.js"),
            },
        ],
    },
    Asset {
        path: "/assets/dashboard-BWpJX535.css",
        content_type: "text/css; charset=utf-8",
        is_immutable: true,
        representations: &[
            Representation {
                encoding: Some("br"),
                etag: "\"ZyG1-6dLqe2KM3XfS0reIe-br\"",
                body: include_bytes!("../ui/dist/assets/dashboard-BWpJX535.css.br"),
            },
            Representation {
                encoding: Some("gzip"),
                etag: "\"ZyG1-6dLqe2KM3XfS0reIe-gzip\"",
                body: include_bytes!("../ui/dist/assets/dashboard-BWpJX535.css.gzip"),
            },
            Representation {
                encoding: None,
                etag: "\"ZyG1-6dLqe2KM3XfS0reIe\"",
                body: include_bytes!("../ui/dist/assets/dashboard-BWpJX535.css"),
            },
        ],
    },
    Asset {
        path: "/assets/dashboard-CuoBQCeN.js",
        content_type: "text/javascript; charset=utf-8",
        is_immutable: true,
        representations: &[
            Representation {
                encoding: Some("br"),
                etag: "\"PpZVYoTWptRwzPiAuiKHCo-br\"",
                body: include_bytes!("../ui/dist/assets/dashboard-CuoBQCeN.js.br"),
            },
            Representation {
                encoding: Some("gzip"),
                etag: "\"PpZVYoTWptRwzPiAuiKHCo-gzip\"",
                body: include_bytes!("../ui/dist/assets/dashboard-CuoBQCeN.js.gzip"),
            },
            Representation {
                encoding: None,
                etag: "\"PpZVYoTWptRwzPiAuiKHCo\"",
                body: include_bytes!("../ui/dist/assets/dashboard-CuoBQCeN.js"),
            },
        ],
    },
    Asset {
        path: "/assets/sse-BVg6HFLJ.js",
        content_type: "text/javascript; charset=utf-8",
        is_immutable: true,
        representations: &[
            Representation {
                encoding: Some("br"),
                etag: "\"nKA372ecJT0U-ihHyW-ibI-br\"",
                body: include_bytes!("../ui/dist/assets/sse-BVg6HFLJ.js.br"),
            },
            Representation {
                encoding: Some("gzip"),
                etag: "\"nKA372ecJT0U-ihHyW-ibI-gzip\"",
                body: include_bytes!("../ui/dist/assets/sse-BVg6HFLJ.js.gzip"),
            },
            Representation {
                encoding: None,
                etag: "\"nKA372ecJT0U-ihHyW-ibI\"",
                body: include_bytes!("../ui/dist/assets/sse-BVg6HFLJ.js"),
            },
        ],
    },
    Asset {
        path: "/assets/sse-D6VR9uPk.js",
        content_type: "text/javascript; charset=utf-8",
        is_immutable: true,
        representations: &[
            Representation {
                encoding: Some("br"),
                etag: "\"BEbdEzWqbo1rDIwDdHS4pu-br\"",
                body: include_bytes!("../ui/dist/assets/sse-D6VR9uPk.js.br"),
            },
            Representation {
                encoding: Some("gzip"),
                etag: "\"BEbdEzWqbo1rDIwDdHS4pu-gzip\"",
                body: include_bytes!("../ui/dist/assets/sse-D6VR9uPk.js.gzip"),
            },
            Representation {
                encoding: None,
                etag: "\"BEbdEzWqbo1rDIwDdHS4pu\"",
                body: include_bytes!("../ui/dist/assets/sse-D6VR9uPk.js"),
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
                etag: "\"nGfrQTV1mq8aCmNONUxD1i-br\"",
                body: include_bytes!("../ui/dist/index.html.br"),
            },
            Representation {
                encoding: Some("gzip"),
                etag: "\"nGfrQTV1mq8aCmNONUxD1i-gzip\"",
                body: include_bytes!("../ui/dist/index.html.gzip"),
            },
            Representation {
                encoding: None,
                etag: "\"nGfrQTV1mq8aCmNONUxD1i\"",
                body: include_bytes!("../ui/dist/index.html"),
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
                etag: "\"sNdjAnVJDo4oC0l2Fk6B9X-br\"",
                body: include_bytes!("../ui/dist/tidings.js.br"),
            },
            Representation {
                encoding: Some("gzip"),
                etag: "\"sNdjAnVJDo4oC0l2Fk6B9X-gzip\"",
                body: include_bytes!("../ui/dist/tidings.js.gzip"),
            },
            Representation {
                encoding: None,
                etag: "\"sNdjAnVJDo4oC0l2Fk6B9X\"",
                body: include_bytes!("../ui/dist/tidings.js"),
            },
        ],
    },
];
