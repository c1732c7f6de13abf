@tool
extends EditorPlugin
## Registers the add-on's nodes, so that they show in the editor's dialogs with their icons.
##
## RelayClient, RelayRoomList, RelaySync, RelaySpawner and RelayMonitors have a `class_name` and an
## `@icon`, which is all that the editor needs to list them.
