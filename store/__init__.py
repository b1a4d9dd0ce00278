"""store: bus -> database, exactly once; and StoreService, which tells what was stored."""
