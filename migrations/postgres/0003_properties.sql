-- The way from a property to its images: every property of every image whose value is not null.
-- An index can hold only so much, so that of long names and values their first 255 characters
-- stand here; whoever looks for those compares the rest with images.properties.
--
-- Triggers keep it, and nothing else writes to it. It refers to images without a constraint, whose
-- cascade would need an index by image, as large as the table.
CREATE TABLE image_properties (
    name text COLLATE "C" NOT NULL,
    value text COLLATE "C" NOT NULL,
    image_id uuid NOT NULL,
    CONSTRAINT image_properties_are_unique PRIMARY KEY (name, value, image_id)
);

-- By statement, so that a COPY stays fast. Names that begin alike may be one row, here and below.
CREATE FUNCTION image_properties_follow_insert() RETURNS trigger LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
BEGIN
    INSERT INTO image_properties (name, value, image_id)
    SELECT left(property.key, 255), left(property.value, 255), inserted.id
    FROM inserted, json_each_text(inserted.properties) AS property
    WHERE property.value IS NOT NULL
    ON CONFLICT DO NOTHING;
    RETURN NULL;
END
$$;

CREATE TRIGGER image_properties_follow_insert AFTER INSERT ON images
REFERENCING NEW TABLE AS inserted
FOR EACH STATEMENT EXECUTE FUNCTION image_properties_follow_insert();

-- One by one: a plan for all at once, made while the table was small and then kept, could read it
-- whole for each image.
CREATE FUNCTION image_properties_follow_change() RETURNS trigger LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
DECLARE
    property record;
BEGIN
    FOR property IN SELECT * FROM json_each_text(OLD.properties) LOOP
        DELETE FROM image_properties
        WHERE name = left(property.key, 255) AND value = left(property.value, 255) AND image_id = OLD.id;
    END LOOP;
    IF TG_OP = 'UPDATE' THEN
        INSERT INTO image_properties (name, value, image_id)
        SELECT left(added.key, 255), left(added.value, 255), NEW.id
        FROM json_each_text(NEW.properties) AS added
        WHERE added.value IS NOT NULL
        ON CONFLICT DO NOTHING;
    END IF;
    RETURN NULL;
END
$$;

CREATE TRIGGER image_properties_follow_update AFTER UPDATE ON images
FOR EACH ROW WHEN (NEW.id <> OLD.id OR NEW.properties::text <> OLD.properties::text)
EXECUTE FUNCTION image_properties_follow_change();

CREATE TRIGGER image_properties_follow_delete AFTER DELETE ON images
FOR EACH ROW WHEN (OLD.properties::text <> '{}')
EXECUTE FUNCTION image_properties_follow_change();

CREATE FUNCTION image_properties_follow_truncate() RETURNS trigger LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
BEGIN
    TRUNCATE image_properties;
    RETURN NULL;
END
$$;

CREATE TRIGGER image_properties_follow_truncate AFTER TRUNCATE ON images
FOR EACH STATEMENT EXECUTE FUNCTION image_properties_follow_truncate();

-- In the order of the key, in which they are only ever put at the end.
INSERT INTO image_properties (name, value, image_id)
SELECT left(property.key, 255), left(property.value, 255), images.id
FROM images, json_each_text(images.properties) AS property
WHERE property.value IS NOT NULL
ORDER BY 1, 2, 3
ON CONFLICT DO NOTHING;
