-- Each documented filter in front of the default order, so that an equality leads straight to
-- its page; size and updated_at serve their ranges and their sort keys. Nulls are the smallest
-- values, as on SQLite.
CREATE INDEX images_by_created_at ON images (created_at, id);
CREATE INDEX images_by_name ON images (name NULLS FIRST, created_at, id);
CREATE INDEX images_by_status ON images (status, created_at, id);
CREATE INDEX images_by_container_format ON images (container_format NULLS FIRST, created_at, id);
CREATE INDEX images_by_disk_format ON images (disk_format NULLS FIRST, created_at, id);
CREATE INDEX images_by_size ON images (size NULLS FIRST, created_at, id);
CREATE INDEX images_by_updated_at ON images (updated_at NULLS FIRST, created_at, id);
CREATE INDEX images_by_owner ON images (owner NULLS FIRST, created_at, id);
CREATE INDEX image_members_by_member ON image_members (member, image_id);
