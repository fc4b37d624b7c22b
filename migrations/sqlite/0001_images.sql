-- The catalog. Column names are the JSON names; times, UUIDs and flags are stored exactly as a
-- portable seed writes them. Every constraint that is not the type's own has the same name in
-- migrations/postgres.

CREATE TABLE images (
    id TEXT NOT NULL PRIMARY KEY
        CONSTRAINT images_id_is_a_canonical_lower_case_uuid
            CHECK (id GLOB '????????-????-????-????-????????????'
                AND length(replace(id, '-', '')) = 32
                AND length(CAST(id AS BLOB)) = 36
                AND replace(id, '-', '') NOT GLOB '*[^0-9a-f]*'),
    name TEXT
        CONSTRAINT images_name_has_at_most_255_characters CHECK (length(name) <= 255)
        CONSTRAINT images_name_has_no_nul CHECK (instr(name, char(0)) = 0),
    status TEXT NOT NULL DEFAULT 'active'
        CONSTRAINT images_status_is_known
            CHECK (status IN ('queued', 'saving', 'uploading', 'importing', 'active',
                'deactivated', 'killed', 'pending_delete', 'deleted')),
    disk_format TEXT
        CONSTRAINT images_disk_format_has_at_most_255_characters CHECK (length(disk_format) <= 255)
        CONSTRAINT images_disk_format_has_no_nul CHECK (instr(disk_format, char(0)) = 0),
    container_format TEXT
        CONSTRAINT images_container_format_has_at_most_255_characters CHECK (length(container_format) <= 255)
        CONSTRAINT images_container_format_has_no_nul CHECK (instr(container_format, char(0)) = 0),
    size INTEGER
        CONSTRAINT images_size_is_not_negative CHECK (size >= 0),
    virtual_size INTEGER
        CONSTRAINT images_virtual_size_is_not_negative CHECK (virtual_size >= 0),
    checksum TEXT
        CONSTRAINT images_checksum_has_no_nul CHECK (instr(checksum, char(0)) = 0),
    owner TEXT
        CONSTRAINT images_owner_has_at_most_255_characters CHECK (length(owner) <= 255)
        CONSTRAINT images_owner_has_no_nul CHECK (instr(owner, char(0)) = 0),
    is_public INTEGER NOT NULL DEFAULT FALSE
        CONSTRAINT images_is_public_is_true_or_false CHECK (is_public IN (FALSE, TRUE)),
    protected INTEGER NOT NULL DEFAULT FALSE
        CONSTRAINT images_protected_is_true_or_false CHECK (protected IN (FALSE, TRUE)),
    deleted INTEGER NOT NULL DEFAULT FALSE
        CONSTRAINT images_deleted_is_true_or_false CHECK (deleted IN (FALSE, TRUE)),
    min_ram INTEGER NOT NULL DEFAULT 0
        CONSTRAINT images_min_ram_is_not_negative CHECK (min_ram >= 0),
    min_disk INTEGER NOT NULL DEFAULT 0
        CONSTRAINT images_min_disk_is_not_negative CHECK (min_disk >= 0),
    -- With a modifier date() moves days that a month does not have, and so changes a date that
    -- does not exist; it is given the date alone, because it would round 23:59:59.999999 up.
    created_at TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%f000', 'now'))
        CONSTRAINT images_created_at_is_a_utc_time_in_years_1_to_9999
            CHECK (created_at GLOB '[0-9][0-9][0-9][0-9]-[0-9][0-9]-[0-9][0-9]T[0-2][0-9]:[0-5][0-9]:[0-5][0-9].[0-9][0-9][0-9][0-9][0-9][0-9]'
                AND length(CAST(created_at AS BLOB)) = 26
                AND substr(created_at, 12, 2) < '24'
                AND substr(created_at, 1, 4) > '0000'
                AND date(substr(created_at, 1, 10), '+0 days') IS substr(created_at, 1, 10)),
    updated_at TEXT DEFAULT (strftime('%Y-%m-%dT%H:%M:%f000', 'now'))
        CONSTRAINT images_updated_at_is_a_utc_time_in_years_1_to_9999
            CHECK (updated_at IS NULL
                OR updated_at GLOB '[0-9][0-9][0-9][0-9]-[0-9][0-9]-[0-9][0-9]T[0-2][0-9]:[0-5][0-9]:[0-5][0-9].[0-9][0-9][0-9][0-9][0-9][0-9]'
                AND length(CAST(updated_at AS BLOB)) = 26
                AND substr(updated_at, 12, 2) < '24'
                AND substr(updated_at, 1, 4) > '0000'
                AND date(substr(updated_at, 1, 10), '+0 days') IS substr(updated_at, 1, 10)),
    deleted_at TEXT
        CONSTRAINT images_deleted_at_is_a_utc_time_in_years_1_to_9999
            CHECK (deleted_at IS NULL
                OR deleted_at GLOB '[0-9][0-9][0-9][0-9]-[0-9][0-9]-[0-9][0-9]T[0-2][0-9]:[0-5][0-9]:[0-5][0-9].[0-9][0-9][0-9][0-9][0-9][0-9]'
                AND length(CAST(deleted_at AS BLOB)) = 26
                AND substr(deleted_at, 12, 2) < '24'
                AND substr(deleted_at, 1, 4) > '0000'
                AND date(substr(deleted_at, 1, 10), '+0 days') IS substr(deleted_at, 1, 10)),
    properties TEXT NOT NULL DEFAULT '{}'
        CONSTRAINT images_properties_is_a_json_object
            CHECK (CASE WHEN json_valid(properties) THEN json_type(properties) = 'object' ELSE FALSE END),
    -- The image as the API shows it, ready to be sent. Malformed properties give null here, so
    -- that it is their own constraint that refuses the row.
    document TEXT NOT NULL GENERATED ALWAYS AS (
        json_object(
            'status', status,
            'deleted_at', deleted_at,
            'name', name,
            'deleted', json(iif(deleted, 'true', 'false')),
            'container_format', container_format,
            'created_at', created_at,
            'disk_format', disk_format,
            'updated_at', updated_at,
            'min_disk', min_disk,
            'protected', json(iif(protected, 'true', 'false')),
            'id', id,
            'min_ram', min_ram,
            'checksum', checksum,
            'owner', owner,
            'is_public', json(iif(is_public, 'true', 'false')),
            'virtual_size', virtual_size,
            'properties', json(iif(json_valid(properties), properties, NULL)),
            'size', size)
    ) STORED
) STRICT;

-- CHECK cannot look into an object, so triggers do. The escapes are looked for in the raw text,
-- without its escaped backslashes. A lone surrogate reads as U+FFFD without being it; U+FFFE and
-- U+FFFF read so too and are taken out with it.
CREATE TRIGGER images_properties_before_insert BEFORE INSERT ON images
WHEN NEW.properties <> '{}' AND json_valid(NEW.properties)
BEGIN
    SELECT RAISE(ABORT, 'images_properties_values_are_text_or_null')
    WHERE EXISTS (SELECT 1 FROM json_each(NEW.properties) WHERE type NOT IN ('text', 'null'));
    SELECT RAISE(ABORT, 'images_properties_keys_are_unique')
    WHERE (SELECT count(key) > count(DISTINCT key) FROM json_each(NEW.properties));
    SELECT RAISE(ABORT, 'images_properties_have_no_nul')
    WHERE instr(replace(NEW.properties, '\\', ''), '\u0000') > 0;
    SELECT RAISE(ABORT, 'images_properties_have_no_lone_surrogate')
    WHERE instr(lower(NEW.properties), '\ud') > 0
        AND EXISTS (SELECT 1 FROM json_each(NEW.properties)
            WHERE replace(replace(replace(key || coalesce(value, ''),
                char(65533), ''), char(65534), ''), char(65535), '') GLOB '*' || char(65533) || '*');
END;

CREATE TRIGGER images_properties_before_update BEFORE UPDATE OF properties ON images
WHEN NEW.properties <> '{}' AND json_valid(NEW.properties)
BEGIN
    SELECT RAISE(ABORT, 'images_properties_values_are_text_or_null')
    WHERE EXISTS (SELECT 1 FROM json_each(NEW.properties) WHERE type NOT IN ('text', 'null'));
    SELECT RAISE(ABORT, 'images_properties_keys_are_unique')
    WHERE (SELECT count(key) > count(DISTINCT key) FROM json_each(NEW.properties));
    SELECT RAISE(ABORT, 'images_properties_have_no_nul')
    WHERE instr(replace(NEW.properties, '\\', ''), '\u0000') > 0;
    SELECT RAISE(ABORT, 'images_properties_have_no_lone_surrogate')
    WHERE instr(lower(NEW.properties), '\ud') > 0
        AND EXISTS (SELECT 1 FROM json_each(NEW.properties)
            WHERE replace(replace(replace(key || coalesce(value, ''),
                char(65533), ''), char(65534), ''), char(65535), '') GLOB '*' || char(65533) || '*');
END;

-- json() keeps escapes as they were written; only what JSON requires may stay escaped.
CREATE TRIGGER images_properties_after_insert AFTER INSERT ON images
WHEN instr(NEW.properties, '\') > 0
BEGIN
    UPDATE images SET properties = (SELECT json_group_object(key, value) FROM json_each(NEW.properties))
    WHERE id = NEW.id;
END;

CREATE TRIGGER images_properties_after_update AFTER UPDATE OF properties ON images
WHEN instr(NEW.properties, '\') > 0
    AND NEW.properties <> (SELECT json_group_object(key, value) FROM json_each(NEW.properties))
BEGIN
    UPDATE images SET properties = (SELECT json_group_object(key, value) FROM json_each(NEW.properties))
    WHERE id = NEW.id;
END;

-- A row lets that project see the image.
CREATE TABLE image_members (
    image_id TEXT NOT NULL
        CONSTRAINT image_members_image_exists REFERENCES images (id) ON DELETE CASCADE,
    member TEXT NOT NULL
        CONSTRAINT image_members_member_has_at_most_255_characters CHECK (length(member) <= 255)
        CONSTRAINT image_members_member_has_no_nul CHECK (instr(member, char(0)) = 0),
    can_share INTEGER NOT NULL DEFAULT FALSE
        CONSTRAINT image_members_can_share_is_true_or_false CHECK (can_share IN (FALSE, TRUE)),
    CONSTRAINT image_members_are_unique PRIMARY KEY (image_id, member)
) STRICT, WITHOUT ROWID;

CREATE TABLE seed_migrations (
    number INTEGER NOT NULL PRIMARY KEY,
    name TEXT NOT NULL,
    checksum TEXT NOT NULL,
    applied_at TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%f000', 'now'))
) STRICT;
