//! Made by `npm run build` in `ui/`: do not edit.

use crate::asset::{Asset, Representation};

/// The embedded files.
pub(crate) static ASSETS: &[Asset] = &[
    Asset {
        path: "/assets/Coloured-DO5JMcuX.js",
        content_type: "text/javascript; charset=utf-8",
        is_immutable: true,
        representations: &[
            Representation {
                encoding: Some("br"),
                etag: "\"UgsniTqr5IubM_jQ7iGMZY-br\"",
                body: include_bytes!("../ui/dist/assets/Coloured-DO5JMcuX.js.br"),
            },
            Representation {
                encoding: Some("gzip"),
                etag: "\"UgsniTqr5IubM_jQ7iGMZY-gzip\"",
                body: include_bytes!("../ui/dist/assets/Coloured-DO5JMcuX.js.gzip"),
            },
            Representation {
                encoding: None,
                etag: "\"UgsniTqr5IubM_jQ7iGMZY\"",
                body: include_bytes!("../ui/dist/assets/Coloured-DO5JMcuX.js"),
            },
        ],
    },
    Asset {
        path: "/assets/Found-Bij5sDZA.js",
        content_type: "text/javascript; charset=utf-8",
        is_immutable: true,
        representations: &[
            Representation {
                encoding: Some("br"),
                etag: "\"sV4lepueoOJh20wKBjqmyK-br\"",
                body: include_bytes!("../ui/dist/assets/Found-Bij5sDZA.js.br"),
            },
            Representation {
                encoding: Some("gzip"),
                etag: "\"sV4lepueoOJh20wKBjqmyK-gzip\"",
                body: include_bytes!("../ui/dist/assets/Found-Bij5sDZA.js.gzip"),
            },
            Representation {
                encoding: None,
                etag: "\"sV4lepueoOJh20wKBjqmyK\"",
                body: include_bytes!("../ui/dist/assets/Found-Bij5sDZA.js"),
            },
        ],
    },
    Asset {
        path: "/assets/Markdown-DTJeQEMx.js",
        content_type: "text/javascript; charset=utf-8",
        is_immutable: true,
        representations: &[
            Representation {
                encoding: Some("br"),
                etag: "\"NJQBOiz2eSgewAqpzKDN79-br\"",
                body: include_bytes!("../ui/dist/assets/Markdown-DTJeQEMx.js.br"),
            },
            Representation {
                encoding: Some("gzip"),
                etag: "\"NJQBOiz2eSgewAqpzKDN79-gzip\"",
                body: include_bytes!("../ui/dist/assets/Markdown-DTJeQEMx.js.gzip"),
            },
            Representation {
                encoding: None,
                etag: "\"NJQBOiz2eSgewAqpzKDN79\"",
                body: include_bytes!("../ui/dist/assets/Markdown-DTJeQEMx.js"),
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
        path: "/assets/dashboard-LYNrSM8j.js",
        content_type: "text/javascript; charset=utf-8",
        is_immutable: true,
        representations: &[
            Representation {
                encoding: Some("br"),
                etag: "\"CjuPXvzi16cB6TQv6PKnLs-br\"",
                body: include_bytes!("../ui/dist/assets/dashboard-LYNrSM8j.js.br"),
            },
            Representation {
                encoding: Some("gzip"),
                etag: "\"CjuPXvzi16cB6TQv6PKnLs-gzip\"",
                body: include_bytes!("../ui/dist/assets/dashboard-LYNrSM8j.js.gzip"),
            },
            Representation {
                encoding: None,
                etag: "\"CjuPXvzi16cB6TQv6PKnLs\"",
                body: include_bytes!("../ui/dist/assets/dashboard-LYNrSM8j.js"),
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
                etag: "\"W5dbVVpDZK6iDoGxu1iQ4U-br\"",
                body: include_bytes!("../ui/dist/index.html.br"),
            },
            Representation {
                encoding: Some("gzip"),
                etag: "\"W5dbVVpDZK6iDoGxu1iQ4U-gzip\"",
                body: include_bytes!("../ui/dist/index.html.gzip"),
            },
            Representation {
                encoding: None,
                etag: "\"W5dbVVpDZK6iDoGxu1iQ4U\"",
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
