// Lists the apps whose bundle has run, to be inspected in the browser.
export function announce(app, message) {
	const loaded = (window.loaded_apps = window.loaded_apps || {});
	loaded[app] = message;
}
