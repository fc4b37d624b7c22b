-- PostgreSQL reads an expression from an index only where the columns in it are there as well:
-- without the formats, each image of a common name was looked up to be counted.
DROP INDEX images_by_name_and_equalities;
CREATE INDEX images_by_name_and_equalities
    ON images (name, deleted, is_public, coalesce(disk_format, ''), coalesce(container_format, ''), status, created_at, id)
    INCLUDE (disk_format, container_format, size, updated_at);
