app_name = "frappe"
app_title = "Frappe (stand-in)"
app_publisher = "Carafe maintainers"
app_description = "A stand-in for the Frappe framework, for Carafe's demo"
app_license = "Apache-2.0"

develop_version = "15.x.x-develop"
