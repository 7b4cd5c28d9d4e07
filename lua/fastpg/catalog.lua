local catalog = {}
catalog.__index = catalog
function catalog.new(db, schema) return setmetatable({db=db, schema=schema}, catalog) end
function catalog:stale() end
return catalog
