//! What the descriptions of the routes have in common: parameters, answers, forms of JSON.

use serde_json::{Map, Value, json};

use crate::auth::AuthError;
use crate::http::{ALLOW, ApiError, NO_SNIFFING, NO_STORE};
use crate::image::checks::STATUSES;
use crate::query::{self, Kind, Limits, PARAMETERS, Parameter, SORT_KEYS};

/// The image of the examples: the first of the demo images, and of the API's own documentation.
pub const CIRROS: &str = "3c3d1d01-b48a-4639-8a88-08be3b9b5d78";

pub fn image() -> Value {
    json!({
        "status": "active",
        "deleted_at": null,
        "name": "cirros",
        "deleted": false,
        "container_format": "bare",
        "created_at": "2016-05-22T06:04:20.425843",
        "disk_format": "qcow2",
        "updated_at": "2016-05-22T06:04:22.719791",
        "min_disk": 0,
        "protected": false,
        "id": CIRROS,
        "min_ram": 0,
        "checksum": "64d7c1cd2b6f60c92c14662941cb7913",
        "owner": "23f4cb75768d4febb39542ef6fe169f3",
        "is_public": true,
        "virtual_size": null,
        "properties": {},
        "size": 13_167_616,
    })
}

/// The fields of the shorter list.
const BRIEF: [&str; 6] = ["name", "container_format", "disk_format", "checksum", "id", "size"];

pub fn brief_image() -> Value {
    let image = image();
    BRIEF.iter().map(|field| ((*field).to_owned(), image[*field].clone())).collect::<Map<_, _>>().into()
}

/// The fields of an image with their schemas.
fn fields() -> Map<String, Value> {
    let text = |description: &str| json!({ "type": ["string", "null"], "description": description });
    let flag = |description: &str| json!({ "type": "boolean", "description": description });
    let whole = |kind: Value, description: &str| json!({ "type": kind, "minimum": 0, "description": description });
    let time = |kind: Value, description: &str| {
        let pattern = r"^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]{6}$";
        json!({ "type": kind, "pattern": pattern, "description": description })
    };
    let optional = |kind: &str| json!([kind, "null"]);
    let fields = [
        ("id", json!({ "type": "string", "format": "uuid", "description": "In lower case with dashes." })),
        ("name", text("What people call it; no two images need differ.")),
        ("status", json!({ "type": "string", "enum": STATUSES, "description": "How far it is." })),
        ("disk_format", text("Such as qcow2 or raw.")),
        ("container_format", text("Such as bare or ovf.")),
        ("size", whole(optional("integer"), "In bytes.")),
        ("virtual_size", whole(optional("integer"), "The size of the disk, in bytes.")),
        ("checksum", text("The MD5 of the data, in hex.")),
        ("owner", text("The project that owns it.")),
        ("is_public", flag("Whether everybody sees it.")),
        ("protected", flag("Whether it is kept from deletion.")),
        ("deleted", flag("Whether it has been deleted; such images are hidden, unless asked for.")),
        ("min_ram", whole(json!("integer"), "The memory that it needs, in MB.")),
        ("min_disk", whole(json!("integer"), "The disk that it needs, in GB.")),
        ("created_at", time(json!("string"), "In UTC, with microseconds.")),
        ("updated_at", time(optional("string"), "In UTC, with microseconds.")),
        ("deleted_at", time(optional("string"), "In UTC, with microseconds.")),
        (
            "properties",
            json!({
                "type": "object",
                "additionalProperties": { "type": ["string", "null"] },
                "description": "Whatever else is known of it, as text by name.",
            }),
        ),
    ];
    fields.into_iter().map(|(name, schema)| (name.to_owned(), schema)).collect()
}

/// An object with all of these properties and no others.
fn object(properties: Map<String, Value>) -> Value {
    let required: Vec<&String> = properties.keys().collect();
    let mut object = json!({ "type": "object", "required": required, "additionalProperties": false });
    object["properties"] = properties.into();
    object
}

fn object_of(properties: Value) -> Value {
    let Value::Object(properties) = properties else { unreachable!("every caller gives an object") };
    object(properties)
}

fn reference(schema: &str) -> Value {
    json!({ "$ref": format!("#/components/schemas/{schema}") })
}

fn array_of(schema: &str) -> Value {
    json!({ "type": "array", "items": reference(schema) })
}

fn schemas() -> Value {
    let brief = fields().into_iter().filter(|(name, _)| BRIEF.contains(&name.as_str())).collect();
    let text = json!({ "type": "string" });
    let flag = json!({ "type": "boolean", "description": "Whether the project may share the image with others." });
    let link = object_of(json!({ "href": { "type": "string", "format": "uri" }, "rel": { "const": "self" } }));
    json!({
        "Image": object(fields()),
        "BriefImage": object(brief),
        "Images": object_of(json!({ "images": array_of("Image") })),
        "BriefImages": object_of(json!({ "images": array_of("BriefImage") })),
        "Member": object_of(json!({ "member_id": text, "can_share": flag })),
        "Members": object_of(json!({ "members": array_of("Member") })),
        "SharedImage": object_of(json!({ "image_id": { "type": "string", "format": "uuid" }, "can_share": flag })),
        "SharedImages": object_of(json!({ "shared_images": array_of("SharedImage") })),
        "Version": object_of(json!({
            "id": { "enum": ["v1.1", "v1.0"] },
            "status": { "const": "DEPRECATED" },
            "links": { "type": "array", "items": link },
        })),
        "Versions": object_of(json!({ "versions": array_of("Version") })),
        "VersionDocument": object_of(json!({ "version": reference("Version") })),
        "Error": object_of(json!({
            "message": { "type": "string", "description": "What is wrong, for people." },
            "code": { "type": "string", "description": "The status with its title." },
            "title": { "type": "string", "description": "The status in words." },
        })),
        "WrappedError": object_of(json!({ "error": reference("Error") })),
    })
}

/// `x-image-meta-id` as it is sent, `X-Image-Meta-Id`.
pub fn camel_case(name: &str) -> String {
    if name == "etag" {
        return "ETag".to_owned();
    }
    let words = name.split('-').map(|word| word[..1].to_ascii_uppercase() + &word[1..]);
    words.collect::<Vec<_>>().join("-")
}

/// The headers of a single image.
pub fn image_headers() -> Value {
    let image = image();
    let mut headers: Map<String, Value> = fields()
        .into_iter()
        .filter(|(name, _)| name != "properties")
        .map(|(name, schema)| {
            let example = match &image[&name] {
                Value::Null => Value::Null,
                Value::Bool(true) => json!("True"),
                Value::Bool(false) => json!("False"),
                Value::String(text) => json!(text),
                other => json!(other.to_string()),
            };
            let is_nullable = schema["type"].is_array();
            let mut header = json!({ "required": !is_nullable, "schema": header_schema(&schema) });
            header["description"] = schema["description"].clone();
            if !example.is_null() {
                header["example"] = example;
            }
            (camel_case(&format!("x-image-meta-{name}")), header)
        })
        .collect();
    headers.insert(
        "ETag".to_owned(),
        json!({ "description": "The checksum.", "schema": { "type": "string" }, "example": image["checksum"] }),
    );
    headers.into()
}

/// The schema of a field as the text of a header.
fn header_schema(field: &Value) -> Value {
    match field["type"].as_str().or_else(|| field["type"][0].as_str()) {
        Some("boolean") => json!({ "type": "string", "enum": ["True", "False"] }),
        Some("integer") => json!({ "type": "string", "pattern": "^[0-9]+$" }),
        _ => {
            let mut schema = json!({ "type": "string" });
            for key in ["enum", "format", "pattern"] {
                if !field[key].is_null() {
                    schema[key] = field[key].clone();
                }
            }
            schema
        }
    }
}

/// An answer's headers with those that every answer of the server's own has.
pub fn with_common_headers(mut headers: Value) -> Value {
    let (name, value) = NO_SNIFFING;
    headers["X-Openstack-Request-Id"] = request_id_header();
    headers[camel_case(name.as_str())] = json!({
        "description": "The body is what its type says.",
        "schema": { "type": "string", "const": value },
        "required": true,
    });
    headers
}

/// The same headers of an answer that may have none of them.
pub fn optional(mut headers: Value) -> Value {
    for header in headers.as_object_mut().into_iter().flat_map(Map::values_mut) {
        header["required"] = json!(false);
    }
    headers
}

/// Of an answer that depends on a token, where one is needed.
pub fn no_store_header() -> (String, Value) {
    let (name, value) = NO_STORE;
    let description = "Where a token is looked at: the answer is for its caller alone.";
    (camel_case(name.as_str()), json!({ "description": description, "schema": { "type": "string", "const": value } }))
}

fn request_id_header() -> Value {
    json!({
        "description": "The id under which the log tells of the request.",
        "schema": { "type": "string", "pattern": "^req-[A-Za-z0-9-]*$" },
        "required": true,
    })
}

pub fn answer(description: &str, content: Value) -> Value {
    answer_with(description, content, json!({}))
}

/// An answer with headers of its own; without a body where the content is null.
pub fn answer_with(description: &str, content: Value, headers: Value) -> Value {
    let mut answer = json!({ "description": description });
    answer["headers"] = with_common_headers(headers);
    if !content.is_null() {
        answer["content"] = content;
    }
    answer
}

/// A refusal that is described once.
pub fn error(name: &str) -> Value {
    json!({ "$ref": format!("#/components/responses/{name}") })
}

pub fn example(summary: &str, error: &ApiError) -> Value {
    json!({ "summary": summary, "value": error.document() })
}

fn refusal(description: &str, examples: &[(&str, &str, ApiError)], mut headers: Value) -> Value {
    let (name, no_store) = no_store_header();
    headers[name] = no_store;
    let examples: Map<String, Value> =
        examples.iter().map(|(name, summary, error)| ((*name).to_owned(), example(summary, error))).collect();
    let schema = json!({ "anyOf": [reference("Error"), reference("WrappedError")] });
    answer_with(description, json!({ "application/json": { "schema": schema, "examples": examples } }), headers)
}

/// The refusals, by the names of their descriptions.
pub fn response(name: &str) -> Value {
    let text = |description: &str, value: &str| json!({ "description": description, "schema": { "type": "string" }, "required": true, "example": value });
    let nothing = json!({});
    match name {
        "BadRequest" => {
            let limits = Limits { default: 1, max: 1 };
            let refused = |query| query::parse(query, limits).map(drop).expect_err("the value is not accepted").into();
            let list = "GET /v1.1/images/detail";
            let mut refusal = refusal(
                "A value is not accepted, or the marker is no image that you can see; or the HTTP library does not \
                 understand the request, and then there is no body.",
                &[
                    ("value", &format!("{list}?size_min=abc"), refused("size_min=abc")),
                    ("order", &format!("{list}?sort_key=colour"), refused("sort_key=colour")),
                ],
                nothing,
            );
            // What the library refuses has none.
            refusal["headers"] = optional(refusal["headers"].take());
            refusal
        }
        "Unauthorized" => refusal(
            "A valid token is needed.",
            &[("token", "GET /v1.1/images/detail", ApiError::from_auth(AuthError::Unauthenticated, String::new()))],
            json!({ "Www-Authenticate": text("Who gives tokens.", "Token realm=\"glimpse\"") }),
        ),
        "Forbidden" => refusal(
            "None of the caller's roles is allowed.",
            &[("role", "GET /v1.1/images/detail", ApiError::Forbidden(AuthError::Forbidden))],
            nothing,
        ),
        "NotFound" => {
            let nowhere = "/v2/images";
            let id = "00000000-0000-4000-8000-000000000000";
            refusal(
                "Nothing is there, or nothing that you can see.",
                &[
                    ("path", &format!("GET {nowhere}"), crate::http::nothing_at(nowhere)),
                    ("image", &format!("GET /v1.1/images/{id}/members"), crate::http::images::no_image(id)),
                ],
                nothing,
            )
        }
        "MethodNotAllowed" => refusal(
            "Any method but GET, HEAD and OPTIONS.",
            &[("method", "DELETE /v1.1/images/detail", ApiError::MethodNotAllowed(actix_web::http::Method::DELETE))],
            json!({ "Allow": text("The methods that are allowed.", ALLOW.1) }),
        ),
        "UriTooLong" => {
            refusal("The request line has 8 KiB or more.", &[("long", "A long query", ApiError::UriTooLong)], nothing)
        }
        "Internal" => refusal(
            "The database fails. The log tells more.",
            &[("database", "The database fails", ApiError::Internal(String::new()))],
            nothing,
        ),
        "Unavailable" => refusal(
            "The database, or the service that knows the tokens, does not answer; a later try may succeed.",
            &[
                ("database", "The database does not answer", ApiError::Unavailable(String::new())),
                ("tokens", "Keystone does not answer", ApiError::NoValidation(AuthError::Unavailable(String::new()))),
            ],
            json!({ "Retry-After": text("In seconds.", "1") }),
        ),
        "Malformed" => json!({
            "description": "The HTTP library does not understand the request, and then there is no body and no id; or \
                its target or host has no proper form.",
            "headers": optional(with_common_headers(json!({}))),
            "content": { "application/json": { "schema": { "anyOf": [reference("Error"), reference("WrappedError")] } } },
        }),
        "HeadTooLarge" => json!({
            "description": "The headers are too large for the HTTP library. There is no body, and no id.",
        }),
        other => unreachable!("{other} is no answer that is described"),
    }
}

const RESPONSES: [&str; 10] = [
    "BadRequest",
    "Unauthorized",
    "Forbidden",
    "NotFound",
    "MethodNotAllowed",
    "UriTooLong",
    "Internal",
    "Unavailable",
    "Malformed",
    "HeadTooLarge",
];

/// All that is referred to.
pub fn components(limits: Limits) -> Value {
    let mut parameters: Map<String, Value> =
        PARAMETERS.iter().map(|known| (known.name.to_owned(), parameter(known, limits))).collect();
    parameters.insert(
        "X-Openstack-Request-Id".to_owned(),
        json!({
            "name": "X-Openstack-Request-Id",
            "in": "header",
            "description": "An id of the client's own. It is kept if it is req- and at most 64 letters, digits and \
                dashes in all; else the request gets a new one.",
            "schema": { "type": "string" },
            "example": "req-3c3d1d01-b48a-4639-8a88-08be3b9b5d78",
        }),
    );
    json!({
        "parameters": parameters,
        "responses": RESPONSES.iter().map(|name| ((*name).to_owned(), response(name))).collect::<Map<_, _>>(),
        "schemas": schemas(),
        "securitySchemes": {
            "token": {
                "type": "apiKey",
                "in": "header",
                "name": "X-Auth-Token",
                "description": "A token of Keystone, or of the server's own file of tokens; which, and whether any \
                    is needed, the server is set to.",
            },
        },
    })
}

/// A parameter of the lists.
fn parameter(parameter: &Parameter, limits: Limits) -> Value {
    let without_nul = r"^[^\u0000]*$";
    let text = json!({ "type": "string", "pattern": without_nul });
    let whole = json!({ "type": "integer", "minimum": 0 });
    let (schema, example) = match parameter.kind {
        Kind::Text(column) => (text, image()[column.name()].clone()),
        Kind::Whole(column, _) => (whole, image()[column.name()].clone()),
        Kind::Flag(_) => (json!({ "type": "string", "enum": ["true", "false", "1", "0"] }), json!("false")),
        Kind::IsPublic => (json!({ "type": "string", "enum": ["true", "false", "1", "0", "none"] }), json!("true")),
        Kind::Since(_) => (
            json!({ "type": "string", "anyOf": [{ "format": "date-time" }, { "format": "date" }] }),
            json!("2016-05-22T06:04:22Z"),
        ),
        Kind::Property => (
            json!({
                "type": "object",
                "propertyNames": { "pattern": format!("^{}[^\\u0000]*$", parameter.name) },
                "additionalProperties": text,
            }),
            json!({ format!("{}os_distro", parameter.name): "debian" }),
        ),
        Kind::SortKey => {
            let keys = SORT_KEYS.map(query::Column::name);
            (json!({ "type": "string", "enum": keys, "default": "created_at" }), json!("name"))
        }
        Kind::SortDir => (json!({ "type": "string", "enum": ["asc", "desc"], "default": "desc" }), json!("asc")),
        Kind::Limit => (json!({ "type": "integer", "minimum": 0, "default": limits.default }), json!(25)),
        Kind::Marker => (json!({ "type": "string", "format": "uuid" }), json!(CIRROS)),
    };
    json!({
        "name": parameter.name,
        "in": "query",
        "description": format!("{} It takes {}.", parameter.description, parameter.kind.accepted()),
        "schema": schema,
        "example": example,
        "style": "form",
        "explode": true,
    })
}
