-- The catalog. Column names are the JSON names. Every constraint that is not the type's own has
-- the same name in migrations/sqlite. Text compares bytewise, as it does there.

CREATE TABLE images (
    id uuid NOT NULL PRIMARY KEY,
    name text COLLATE "C"
        CONSTRAINT images_name_has_at_most_255_characters CHECK (char_length(name) <= 255),
    status text COLLATE "C" NOT NULL DEFAULT 'active'
        CONSTRAINT images_status_is_known
            CHECK (status IN ('queued', 'saving', 'uploading', 'importing', 'active',
                'deactivated', 'killed', 'pending_delete', 'deleted')),
    disk_format text COLLATE "C"
        CONSTRAINT images_disk_format_has_at_most_255_characters CHECK (char_length(disk_format) <= 255),
    container_format text COLLATE "C"
        CONSTRAINT images_container_format_has_at_most_255_characters CHECK (char_length(container_format) <= 255),
    size bigint
        CONSTRAINT images_size_is_not_negative CHECK (size >= 0),
    virtual_size bigint
        CONSTRAINT images_virtual_size_is_not_negative CHECK (virtual_size >= 0),
    checksum text COLLATE "C",
    owner text COLLATE "C"
        CONSTRAINT images_owner_has_at_most_255_characters CHECK (char_length(owner) <= 255),
    is_public boolean NOT NULL DEFAULT FALSE,
    protected boolean NOT NULL DEFAULT FALSE,
    deleted boolean NOT NULL DEFAULT FALSE,
    min_ram bigint NOT NULL DEFAULT 0
        CONSTRAINT images_min_ram_is_not_negative CHECK (min_ram >= 0),
    min_disk bigint NOT NULL DEFAULT 0
        CONSTRAINT images_min_disk_is_not_negative CHECK (min_disk >= 0),
    created_at timestamp(6) NOT NULL DEFAULT (now() AT TIME ZONE 'UTC')
        CONSTRAINT images_created_at_is_a_utc_time_in_years_1_to_9999
            CHECK (created_at BETWEEN '0001-01-01T00:00:00.000000' AND '9999-12-31T23:59:59.999999'),
    updated_at timestamp(6) DEFAULT (now() AT TIME ZONE 'UTC')
        CONSTRAINT images_updated_at_is_a_utc_time_in_years_1_to_9999
            CHECK (updated_at BETWEEN '0001-01-01T00:00:00.000000' AND '9999-12-31T23:59:59.999999'),
    deleted_at timestamp(6)
        CONSTRAINT images_deleted_at_is_a_utc_time_in_years_1_to_9999
            CHECK (deleted_at BETWEEN '0001-01-01T00:00:00.000000' AND '9999-12-31T23:59:59.999999'),
    -- json, not jsonb: jsonb would drop repeated keys before anything could refuse them.
    properties json NOT NULL DEFAULT '{}'
        CONSTRAINT images_properties_is_a_json_object CHECK (json_typeof(properties) = 'object'),
    -- The image as the API shows it, ready to be sent; the trigger below keeps it, and where it
    -- is turned off, null refuses the row.
    document text COLLATE "C" NOT NULL
);

CREATE FUNCTION images_before_write() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    members text;
BEGIN
    IF json_typeof(NEW.properties) = 'object' AND NEW.properties::text <> '{}' THEN
        -- The escapes are looked for in the raw text, without its escaped backslashes.
        IF position('\u0000' IN replace(NEW.properties::text, '\\', '')) > 0 THEN
            RAISE check_violation USING MESSAGE = 'images_properties_have_no_nul';
        END IF;
        IF position('\ud' IN lower(NEW.properties::text)) > 0 THEN
            BEGIN
                PERFORM key || value FROM json_each_text(NEW.properties);
            EXCEPTION WHEN invalid_text_representation THEN
                RAISE check_violation USING MESSAGE = 'images_properties_have_no_lone_surrogate';
            END;
        END IF;
        IF EXISTS (SELECT FROM json_each(NEW.properties) WHERE json_typeof(value) NOT IN ('string', 'null')) THEN
            RAISE check_violation USING MESSAGE = 'images_properties_values_are_text_or_null';
        END IF;
        IF (SELECT count(key) > count(DISTINCT key) FROM json_object_keys(NEW.properties) AS key) THEN
            RAISE check_violation USING MESSAGE = 'images_properties_keys_are_unique';
        END IF;
        -- Rewritten without blanks, and with nothing escaped that JSON does not require.
        SELECT string_agg(to_json(key)::text || ':' || coalesce(to_json(value)::text, 'null'), ',' ORDER BY ordinal)
        INTO members
        FROM json_each_text(NEW.properties) WITH ORDINALITY AS property (key, value, ordinal);
        NEW.properties := '{' || coalesce(members, '') || '}';
    END IF;
    SELECT row_to_json(image) INTO NEW.document FROM (SELECT
        NEW.status AS status,
        to_char(NEW.deleted_at, 'YYYY-MM-DD"T"HH24:MI:SS.US') AS deleted_at,
        NEW.name AS name,
        NEW.deleted AS deleted,
        NEW.container_format AS container_format,
        to_char(NEW.created_at, 'YYYY-MM-DD"T"HH24:MI:SS.US') AS created_at,
        NEW.disk_format AS disk_format,
        to_char(NEW.updated_at, 'YYYY-MM-DD"T"HH24:MI:SS.US') AS updated_at,
        NEW.min_disk AS min_disk,
        NEW.protected AS protected,
        NEW.id AS id,
        NEW.min_ram AS min_ram,
        NEW.checksum AS checksum,
        NEW.owner AS owner,
        NEW.is_public AS is_public,
        NEW.virtual_size AS virtual_size,
        NEW.properties AS properties,
        NEW.size AS size
    ) AS image;
    RETURN NEW;
END
$$;

CREATE TRIGGER images_before_write BEFORE INSERT OR UPDATE ON images
FOR EACH ROW EXECUTE FUNCTION images_before_write();

-- A row lets that project see the image.
CREATE TABLE image_members (
    image_id uuid NOT NULL
        CONSTRAINT image_members_image_exists REFERENCES images (id) ON DELETE CASCADE,
    member text COLLATE "C" NOT NULL
        CONSTRAINT image_members_member_has_at_most_255_characters CHECK (char_length(member) <= 255),
    can_share boolean NOT NULL DEFAULT FALSE,
    CONSTRAINT image_members_are_unique PRIMARY KEY (image_id, member)
);

CREATE TABLE seed_migrations (
    number bigint NOT NULL PRIMARY KEY,
    name text COLLATE "C" NOT NULL,
    checksum text COLLATE "C" NOT NULL,
    applied_at timestamp(6) NOT NULL DEFAULT (now() AT TIME ZONE 'UTC')
);
