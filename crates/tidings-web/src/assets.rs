//! Made by `npm run build` in `ui/`: do not edit.

use crate::asset::{Asset, Representation};

/// The embedded files.
pub(crate) static ASSETS: &[Asset] = &[
    Asset {
        path: "/assets/Coloured-DrIwex9I.js",
        content_type: "text/javascript; charset=utf-8",
        is_immutable: true,
        representations: &[
            Representation {
                encoding: Some("br"),
                etag: "\"Yg7Z9FC1yThonA3j8eiE3d-br\"",
                body: include_bytes!("../ui/dist/assets/Coloured-DrIwex9I.js.br"),
            },
            Representation {
                encoding: Some("gzip"),
                etag: "\"Yg7Z9FC1yThonA3j8eiE3d-gzip\"",
                body: include_bytes!("../ui/dist/assets/Coloured-DrIwex9I.js.gzip"),
            },
            Representation {
                encoding: None,
                etag: "\"Yg7Z9FC1yThonA3j8eiE3d\"",
                body: include_bytes!("../ui/dist/assets/Coloured-DrIwex9I.js"),
            },
        ],
    },
    Asset {
        path: "/assets/Markdown-Bu22rWy2.js",
        content_type: "text/javascript; charset=utf-8",
        is_immutable: true,
        representations: &[
            Representation {
                encoding: Some("br"),
                etag: "\"mEGxBCYDuDumhNjDh7cZ69-br\"",
                body: include_bytes!("../ui/dist/assets/Markdown-Bu22rWy2.js.br"),
            },
            Representation {
                encoding: Some("gzip"),
                etag: "\"mEGxBCYDuDumhNjDh7cZ69-gzip\"",
                body: include_bytes!("../ui/dist/assets/Markdown-Bu22rWy2.js.gzip"),
            },
            Representation {
                encoding: None,
                etag: "\"mEGxBCYDuDumhNjDh7cZ69\"",
                body: include_bytes!("../ui/dist/assets/Markdown-Bu22rWy2.js"),
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
        path: "/assets/dashboard-N7sf5Rtu.js",
        content_type: "text/javascript; charset=utf-8",
        is_immutable: true,
        representations: &[
            Representation {
                encoding: Some("br"),
                etag: "\"PiHbxfCnXUK5OjxjmYFr1--br\"",
                body: include_bytes!("../ui/dist/assets/dashboard-N7sf5Rtu.js.br"),
            },
            Representation {
                encoding: Some("gzip"),
                etag: "\"PiHbxfCnXUK5OjxjmYFr1--gzip\"",
                body: include_bytes!("../ui/dist/assets/dashboard-N7sf5Rtu.js.gzip"),
            },
            Representation {
                encoding: None,
                etag: "\"PiHbxfCnXUK5OjxjmYFr1-\"",
                body: include_bytes!("../ui/dist/assets/dashboard-N7sf5Rtu.js"),
            },
        ],
    },
    Asset {
        path: "/assets/sse-C5LOcEbM.js",
        content_type: "text/javascript; charset=utf-8",
        is_immutable: true,
        representations: &[
            Representation {
                encoding: Some("br"),
                etag: "\"X5u95SEtvhzX99ONNPyFJB-br\"",
                body: include_bytes!("../ui/dist/assets/sse-C5LOcEbM.js.br"),
            },
            Representation {
                encoding: Some("gzip"),
                etag: "\"X5u95SEtvhzX99ONNPyFJB-gzip\"",
                body: include_bytes!("../ui/dist/assets/sse-C5LOcEbM.js.gzip"),
            },
            Representation {
                encoding: None,
                etag: "\"X5u95SEtvhzX99ONNPyFJB\"",
                body: include_bytes!("../ui/dist/assets/sse-C5LOcEbM.js"),
            },
        ],
    },
    Asset {
        path: "/assets/sse-dvyam-dc.js",
        content_type: "text/javascript; charset=utf-8",
        is_immutable: true,
        representations: &[
            Representation {
                encoding: Some("br"),
                etag: "\"RtvvYXNGFgMQTt_UITg_yy-br\"",
                body: include_bytes!("../ui/dist/assets/sse-dvyam-dc.js.br"),
            },
            Representation {
                encoding: Some("gzip"),
                etag: "\"RtvvYXNGFgMQTt_UITg_yy-gzip\"",
                body: include_bytes!("../ui/dist/assets/sse-dvyam-dc.js.gzip"),
            },
            Representation {
                encoding: None,
                etag: "\"RtvvYXNGFgMQTt_UITg_yy\"",
                body: include_bytes!("../ui/dist/assets/sse-dvyam-dc.js"),
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
                etag: "\"fFh_lKjxS1UB6XgBZ4g1pE-br\"",
                body: include_bytes!("../ui/dist/index.html.br"),
            },
            Representation {
                encoding: Some("gzip"),
                etag: "\"fFh_lKjxS1UB6XgBZ4g1pE-gzip\"",
                body: include_bytes!("../ui/dist/index.html.gzip"),
            },
            Representation {
                encoding: None,
                etag: "\"fFh_lKjxS1UB6XgBZ4g1pE\"",
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
                etag: "\"_BzxsRG9kGdxhcqsQ4q3Y6-br\"",
                body: include_bytes!("../ui/dist/tidings.js.br"),
            },
            Representation {
                encoding: Some("gzip"),
                etag: "\"_BzxsRG9kGdxhcqsQ4q3Y6-gzip\"",
                body: include_bytes!("../ui/dist/tidings.js.gzip"),
            },
            Representation {
                encoding: None,
                etag: "\"_BzxsRG9kGdxhcqsQ4q3Y6\"",
                body: include_bytes!("../ui/dist/tidings.js"),
            },
        ],
    },
];
