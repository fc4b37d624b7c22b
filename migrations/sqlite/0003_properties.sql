-- The way from a property to its images: every property of every image whose value is not null.
-- An index can hold only so much, so that of long names and values their first 255 characters
-- stand here; whoever looks for those compares the rest with images.properties.
--
-- Triggers keep it, and nothing else writes to it. It refers to images without a constraint, whose
-- cascade would need an index by image, as large as the table.
CREATE TABLE image_properties (
    name TEXT NOT NULL,
    value TEXT NOT NULL,
    image_id TEXT NOT NULL,
    CONSTRAINT image_properties_are_unique PRIMARY KEY (name, value, image_id)
) STRICT, WITHOUT ROWID;

-- REPLACE deletes an image without a trigger, and what it had is known only before that. What is
-- noted of an image that stays after all, as IGNORE leaves it, does no harm: whoever deletes by it
-- stores the properties of the image afterwards.
CREATE TABLE image_properties_before (
    image_id TEXT NOT NULL PRIMARY KEY,
    properties TEXT NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TRIGGER image_properties_note_before_insert BEFORE INSERT ON images
WHEN EXISTS (SELECT 1 FROM images WHERE id = NEW.id AND properties <> '{}')
BEGIN
    DELETE FROM image_properties_before;
    INSERT INTO image_properties_before (image_id, properties)
    SELECT id, properties FROM images WHERE id = NEW.id;
END;

CREATE TRIGGER image_properties_note_before_update BEFORE UPDATE OF id ON images
WHEN NEW.id <> OLD.id AND EXISTS (SELECT 1 FROM images WHERE id = NEW.id AND properties <> '{}')
BEGIN
    DELETE FROM image_properties_before;
    INSERT INTO image_properties_before (image_id, properties)
    SELECT id, properties FROM images WHERE id = NEW.id;
END;

-- The triggers that rewrite properties may run before these or after them: each of these ends
-- with all that the image has, and what is there already does not count. DO NOTHING also holds
-- where the statement itself says OR ABORT, which INSERT OR IGNORE would not.
CREATE TRIGGER image_properties_follow_insert AFTER INSERT ON images
BEGIN
    DELETE FROM image_properties
    WHERE image_id = NEW.id AND (name, value) IN (
        SELECT substr(key, 1, 255), substr(value, 1, 255)
        FROM image_properties_before AS before, json_each(before.properties)
        WHERE before.image_id = NEW.id AND type = 'text');
    INSERT INTO image_properties (name, value, image_id)
    SELECT substr(key, 1, 255), substr(value, 1, 255), NEW.id FROM json_each(NEW.properties) WHERE type = 'text'
    ON CONFLICT DO NOTHING;
END;

CREATE TRIGGER image_properties_follow_update AFTER UPDATE OF id, properties ON images
WHEN NEW.id <> OLD.id OR NEW.properties <> OLD.properties
BEGIN
    DELETE FROM image_properties
    WHERE image_id = OLD.id AND (name, value) IN (
        SELECT substr(key, 1, 255), substr(value, 1, 255) FROM json_each(OLD.properties) WHERE type = 'text');
    DELETE FROM image_properties
    WHERE image_id = NEW.id AND (name, value) IN (
        SELECT substr(key, 1, 255), substr(value, 1, 255)
        FROM image_properties_before AS before, json_each(before.properties)
        WHERE before.image_id = NEW.id AND type = 'text');
    INSERT INTO image_properties (name, value, image_id)
    SELECT substr(key, 1, 255), substr(value, 1, 255), NEW.id FROM json_each(NEW.properties) WHERE type = 'text'
    ON CONFLICT DO NOTHING;
END;

CREATE TRIGGER image_properties_follow_delete AFTER DELETE ON images
WHEN OLD.properties <> '{}'
BEGIN
    DELETE FROM image_properties
    WHERE image_id = OLD.id AND (name, value) IN (
        SELECT substr(key, 1, 255), substr(value, 1, 255) FROM json_each(OLD.properties) WHERE type = 'text');
END;

-- In the order of the key, in which they are only ever put at the end.
INSERT INTO image_properties (name, value, image_id)
SELECT substr(key, 1, 255), substr(value, 1, 255), images.id FROM images, json_each(images.properties) WHERE type = 'text'
ORDER BY 1, 2, 3
ON CONFLICT DO NOTHING;
